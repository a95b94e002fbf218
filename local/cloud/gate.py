"""The door of the embedded AWS: who is asking, and may they.

moto can enforce IAM by itself, but judges most services against the resource `*`, knows no presigned URL and reads an unmet
condition as a denial. The gate asks for exact actions on exact ARNs instead, and moto's own check stays off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from local.cloud.actions import Account, NotAuthorizable, needed_access, role_name
from local.cloud.policy import Access, Decision, evaluate
from local.cloud.principals import Principal, Principals
from local.cloud.refusal import refusal
from local.cloud.request import CloudRequest, SignedScope
from local.cloud.signature import body_matches, presigned_expired, signature_matches, skewed

StartResponse = Callable[..., Any]
# An application behind the gate gets the request as the gate has read it, beside the WSGI environment.
Application = Callable[[CloudRequest, SignedScope, dict[str, Any]], Response]


# What a list request says of itself (https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html).
_S3_CONTEXT = ("prefix", "delimiter", "max-keys")


class _Malformed(Exception):
    """The request can't be read."""


class Policies(Protocol):
    """Where the deployed policies are read from."""

    def of_role(self, role: str) -> Sequence[Mapping[str, Any]] | None:
        """The policy documents of a role, or None when there is no such role."""

    def identity_of_role(self, role: str) -> str | None:
        """A role's unique id, which another role of the same name doesn't have; None when there is no such role."""

    def of_resource(self, access: Access) -> Sequence[Mapping[str, Any]]:
        """The policy documents attached to what an access touches."""


class Gate:
    """A WSGI application that lets permitted requests through to `behind`."""

    def __init__(self, behind: Application, principals: Principals, policies: Policies, account: Account) -> None:
        self._behind = behind
        self._principals = principals
        self._policies = policies
        self._account = account

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = CloudRequest.read(environ)
        try:
            answer = self._answer(request, environ)
        except _Malformed as error:
            answer = refusal(request, "s3" if request.method != "POST" else "", "InvalidRequest", str(error), 400)
        return answer(environ, start_response)

    def _answer(self, request: CloudRequest, environ: dict[str, Any]) -> Response:
        scope = request.scope()
        if scope is None:
            service = "s3" if not request.headers.get("x-amz-target") and request.method != "POST" else ""
            return refusal(request, service, "AccessDenied", "The request is not signed with AWS Signature Version 4.")
        principal = self._principals.find(scope.access_key_id)
        if principal is None:
            code = "InvalidAccessKeyId" if scope.service == "s3" else "InvalidClientTokenId"
            return refusal(request, scope.service, code, "The access key is not known to the local stack.")
        reason = self._authentication_fault(request, scope, principal)
        if reason is not None:
            return refusal(request, scope.service, *reason)
        if principal.role is not None:
            denied = self._denial(request, scope, principal, principal.role)
            if denied is not None:
                return refusal(request, scope.service, "AccessDenied", denied)
        if scope.service == "sts":
            return self._sts(request, principal)
        return self._behind(request, scope, environ)

    def _authentication_fault(
        self, request: CloudRequest, scope: SignedScope, principal: Principal
    ) -> tuple[str, str] | None:
        if principal.expiration is not None and principal.expiration < datetime.now(UTC):
            return "ExpiredToken", "The provided token has expired."
        token = request.headers.get("x-amz-security-token") or request.query.get("X-Amz-Security-Token")
        if token != principal.session_token:
            return "InvalidClientTokenId", "The security token included in the request is invalid."
        try:
            if scope.in_query and presigned_expired(request):
                return "AccessDenied", "Request has expired"
            if not scope.in_query and skewed(scope):
                return (
                    "RequestTimeTooSkewed",
                    "The difference between the request time and the current time is too large.",
                )
        except ValueError as error:
            raise _Malformed(f"a date that is none: {error}") from error
        if not signature_matches(request, scope, principal.secret_access_key) or not body_matches(request, scope):
            return "SignatureDoesNotMatch", "The request signature does not match the signature calculated here."
        return None

    def _denial(self, request: CloudRequest, scope: SignedScope, principal: Principal, role: str) -> str | None:
        policies = self._policies.of_role(role)
        if policies is None or self._policies.identity_of_role(role) != principal.role_identity:
            return f"User: {principal.arn} can do nothing: its role has been deleted."
        try:
            accesses = needed_access(request, scope, self._account)
        except NotAuthorizable as unknown:
            return f"The local stack does not know which permission this request needs: {unknown}"
        context = {
            # The endpoint stands for AWS's TLS endpoints.
            "aws:SecureTransport": "true",
            "aws:PrincipalArn": principal.arn,
            "aws:PrincipalAccount": self._account.account_id,
            "aws:SourceAccount": self._account.account_id,
            "aws:RequestedRegion": scope.region,
        }
        if scope.service == "s3":
            context |= {f"s3:{name}": request.query[name] for name in _S3_CONTEXT if name in request.query}
        for access in accesses:
            if access.action == "sts:GetCallerIdentity":
                continue
            decision = evaluate(policies, access, context)
            if evaluate(self._policies.of_resource(access), access, context) is Decision.DENIED:
                decision = Decision.DENIED
            if decision is not Decision.ALLOWED:
                because = (
                    "with an explicit deny"
                    if decision is Decision.DENIED
                    else "because no identity-based policy allows it"
                )
                what = f"{access.action} on resource: {access.resource}"
                return f"User: {principal.arn} is not authorized to perform: {what} {because}"
        return None

    def _sts(self, request: CloudRequest, principal: Principal) -> Response:
        """The two calls of STS that matter here; sessions must be the gate's own for it to know them again."""
        form = request.form
        match form.get("Action"):
            case "GetCallerIdentity":
                user_id = principal.access_key_id
                result = (
                    f"<Arn>{principal.arn}</Arn><UserId>{user_id}</UserId><Account>{self._account.account_id}</Account>"
                )
            case "AssumeRole" if principal.role is not None:
                return refusal(request, "sts", "AccessDenied", "Only the operator assumes roles in the local stack.")
            case "AssumeRole":
                try:
                    session = self._assume(form)
                except ValueError as error:
                    return refusal(request, "sts", "ValidationError", str(error), 400)
                assert session.expiration is not None
                result = (
                    f"<Credentials><AccessKeyId>{session.access_key_id}</AccessKeyId>"
                    f"<SecretAccessKey>{session.secret_access_key}</SecretAccessKey>"
                    f"<SessionToken>{session.session_token}</SessionToken>"
                    f"<Expiration>{session.expiration.isoformat().replace('+00:00', 'Z')}</Expiration></Credentials>"
                    f"<AssumedRoleUser><Arn>{escape(session.arn)}</Arn>"
                    f"<AssumedRoleId>AROA:{session.access_key_id}</AssumedRoleId></AssumedRoleUser>"
                )
            case action:
                return refusal(request, "sts", "InvalidAction", f"sts:{action} is not served by the local stack.", 400)
        name = form["Action"]
        return Response(
            f'<{name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{name}Result>{result}</{name}Result>'
            f"<ResponseMetadata><RequestId>local-stack</RequestId></ResponseMetadata></{name}Response>",
            content_type="text/xml",
        )

    def _assume(self, form: Mapping[str, str]) -> Principal:
        role_arn = form.get("RoleArn", "")
        duration = int(form.get("DurationSeconds", "3600"))
        identity = self._policies.identity_of_role(role_name(role_arn))
        if identity is None:
            raise ValueError(f"there is no role {role_arn} in the local stack")
        return self._principals.assume(role_arn, identity, form.get("RoleSessionName", "session"), duration)
