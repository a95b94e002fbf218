"""The container credentials endpoint: each task gets the credentials of its own task role, and of no other.

Protocol: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html. The SDK sends the value of
AWS_CONTAINER_AUTHORIZATION_TOKEN as the Authorization header to AWS_CONTAINER_CREDENTIALS_FULL_URI.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from local.runner.ports import Cloud
from local.runner.web import Receive, Scope, Send, TaskEndpoint


@dataclass(frozen=True)
class Grant:
    """One task's way to its credentials."""

    role_arn: str
    path: str
    token: str
    url: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token,
        }


class CredentialsEndpoint(TaskEndpoint):
    """Serves credentials on a free port of 127.0.0.1, at a path and with a token that one task alone knows."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__()
        self._cloud = cloud
        self._grants: dict[str, Grant] = {}

    def grant(self, role_arn: str) -> Grant:
        """A new way to the credentials of a role; `revoke` ends it."""
        path = f"/{secrets.token_urlsafe(24)}"
        grant = Grant(role_arn, path, secrets.token_urlsafe(32), self._url(path))
        self._grants[path] = grant
        return grant

    def revoke(self, grant: Grant) -> None:
        self._grants.pop(grant.path, None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        grant = self._grants.get(scope["path"])
        given = dict(scope["headers"]).get(b"authorization", b"")
        if grant is None or scope["method"] != "GET":
            await _send_json(send, 404, {"code": "NotFound", "message": "no task has this path"})
        elif not hmac.compare_digest(given, grant.token.encode()):
            await _send_json(
                send, 403, {"code": "AccessDenied", "message": "the authorization token is not this task's"}
            )
        else:
            try:
                credentials = await self._cloud.credentials(grant.role_arn)
            except Exception as error:
                await _send_json(send, 500, {"code": "AssumeRoleFailed", "message": f"{grant.role_arn}: {error}"})
                return
            body = {
                "RoleArn": grant.role_arn,
                "AccessKeyId": credentials.access_key_id,
                "SecretAccessKey": credentials.secret_access_key,
                "Token": credentials.session_token,
                "Expiration": credentials.expiration.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            await _send_json(send, 200, body)


async def _send_json(send: Send, status: int, body: Mapping[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
