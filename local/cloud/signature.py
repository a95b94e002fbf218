"""Checks AWS Signature Version 4, in headers and in presigned queries alike.

botocore can only sign: its canonical request leaves out headers that other clients sign (`user-agent`), so the verifying
side is written from the specification:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from local.cloud.request import CloudRequest, SignedScope


def signature_matches(request: CloudRequest, scope: SignedScope, secret_access_key: str) -> bool:
    """Whether the request was signed with this secret, over these headers and this body hash."""
    return hmac.compare_digest(_signature(request, scope, secret_access_key), scope.signature)


def body_matches(request: CloudRequest, scope: SignedScope) -> bool:
    """Whether the body is what its signed hash says; streaming and unsigned payload markers carry no hash to check."""
    declared = request.headers.get("x-amz-content-sha256", "")
    return scope.in_query or len(declared) != 64 or declared == hashlib.sha256(request.body).hexdigest()


def presigned_expired(request: CloudRequest, now: datetime | None = None) -> bool:
    """Whether a presigned URL is past its `X-Amz-Expires` seconds."""
    query = request.query
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return (now or datetime.now(UTC)) > signed_at + timedelta(seconds=int(query.get("X-Amz-Expires", "0")))


def skewed(scope: SignedScope, now: datetime | None = None) -> bool:
    """Whether a signed request is not of now: AWS takes 15 minutes of difference, so that none can be sent again later."""
    signed_at = datetime.strptime(scope.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return abs((now or datetime.now(UTC)) - signed_at) > timedelta(minutes=15)


def _signature(request: CloudRequest, scope: SignedScope, secret_access_key: str) -> str:
    date = scope.timestamp[:8]
    credential_scope = f"{date}/{scope.region}/{scope.service}/aws4_request"
    hashed = hashlib.sha256(_canonical_request(request, scope).encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{scope.timestamp}\n{credential_scope}\n{hashed}"
    key = f"AWS4{secret_access_key}".encode()
    for part in (date, scope.region, scope.service, "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _canonical_request(request: CloudRequest, scope: SignedScope) -> str:
    parameters = sorted(
        (name, value)
        for name, _, value in (part.partition("=") for part in request.raw_query.split("&") if part)
        if name != "X-Amz-Signature"
    )
    if scope.in_query:
        content_hash = "UNSIGNED-PAYLOAD"
    else:
        content_hash = request.headers.get("x-amz-content-sha256") or hashlib.sha256(request.body).hexdigest()
    return "\n".join(
        [
            request.method.upper(),
            # S3 alone takes the path as it was sent; every other service encodes it once more.
            request.raw_path if scope.service == "s3" else quote(request.raw_path, safe="/~"),
            "&".join(f"{name}={value}" for name, value in parameters),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in scope.signed_headers),
            "",
            ";".join(scope.signed_headers),
            content_hash,
        ]
    )
