"""Every error that the API answers, and the one shape in which it answers them (RFC 9457).

    Problem                   status  type
    ├── BadRequest            400     urn:problem:bad-request
    │   ├── DigestMismatch    400     urn:problem:digest-mismatch
    │   └── NotJson           400     urn:problem:not-json
    ├── Unauthorized          401     urn:problem:unauthorized
    ├── NotFound              404     urn:problem:not-found
    ├── MethodNotAllowed      405     urn:problem:method-not-allowed
    ├── Stalled               408     urn:problem:body-stalled
    ├── LengthRequired        411     urn:problem:length-required
    ├── PreconditionFailed    412     urn:problem:precondition-failed
    ├── TooLarge              413     urn:problem:too-large
    ├── UnsupportedMediaType  415     urn:problem:unsupported-media-type
    ├── RangeNotSatisfiable   416     urn:problem:range-not-satisfiable
    ├── Invalid               422     urn:problem:invalid
    ├── HeadTooLarge          431     urn:problem:head-too-large
    ├── InternalError         500     urn:problem:internal-error
    ├── NotImplementedHere    501     urn:problem:not-implemented
    ├── Unavailable           503     urn:problem:unavailable
    ├── VersionNotSupported   505     urn:problem:version-not-supported
    └── NoSpace               507     urn:problem:no-space

A route raises one of them and nothing else; the types are stable, so a client may branch on them.
"""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Mapping
from typing import ClassVar

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error with an HTTP status. ``detail`` says what was wrong with this very request and what to do about it."""

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]
    is_fault: bool
    """Whether the service is to blame, which is what the metric ServerErrors counts; by default for every 5xx."""

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: object) -> None:
        super().__init__(detail)
        self.is_fault = self.status >= 500
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


class BadRequest(Problem):
    status, slug, title = 400, "bad-request", "Bad request"


class DigestMismatch(BadRequest):
    slug, title = "digest-mismatch", "The content does not match its digest"


class NotJson(BadRequest):
    slug, title = "not-json", "The body is not valid JSON"


class Unauthorized(Problem):
    status, slug, title = 401, "unauthorized", "A valid token is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class NotFound(Problem):
    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class Stalled(Problem):
    status, slug, title = 408, "body-stalled", "The body did not arrive in time"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class LengthRequired(Problem):
    status, slug, title = 411, "length-required", "A length is needed"


class PreconditionFailed(Problem):
    status, slug, title = 412, "precondition-failed", "Precondition failed"


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "Content too large"


class UnsupportedMediaType(Problem):
    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class RangeNotSatisfiable(Problem):
    status, slug, title = 416, "range-not-satisfiable", "Range not satisfiable"


class Invalid(Problem):
    """One member of the body is missing or wrong; ``field`` is its path, such as ``data.email_timestream``."""

    status, slug, title = 422, "invalid", "The content is not valid"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}", errors=[{"field": field, "detail": detail}])


class HeadTooLarge(Problem):
    status, slug, title = 431, "head-too-large", "Request header fields too large"


class InternalError(Problem):
    status, slug, title = 500, "internal-error", "Internal error"


class NotImplementedHere(Problem):
    """What HTTP has and this service has not, such as a transfer coding other than chunked."""

    status, slug, title = 501, "not-implemented", "Not implemented"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})
        self.is_fault = False  # The client asked for it.


class Unavailable(Problem):
    """``is_fault`` is False for what is said because it was asked or ordered: the readiness check's no, a stop."""

    status, slug, title = 503, "unavailable", "Service unavailable"

    def __init__(self, detail: str, *, retry_after_seconds: int = 1, is_fault: bool = True) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})
        self.is_fault = is_fault


class VersionNotSupported(Problem):
    status, slug, title = 505, "version-not-supported", "HTTP version not supported"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.is_fault = False


class NoSpace(Problem):
    status, slug, title = 507, "no-space", "Insufficient storage"


# EFS answers EDQUOT for its own limits of a client: open files, users, locks.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def storage_problem(error: OSError) -> Problem:
    """What a failure of the file system means to a client."""
    if error.errno in _NO_SPACE:
        return NoSpace("The storage is full; nothing was stored.")
    reason = errno.errorcode.get(error.errno or 0, "an unknown error")
    return Unavailable(f"The storage failed with {reason}; try again.", retry_after_seconds=5)


def forget_locals(error: BaseException) -> None:
    """Empties the frames that ``error``, and what it was raised from, came through; where they are stays.

    They hold whatever a route had in hands, such as a body, and an answer may take a slow client minutes.
    """
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__context__


def to_response(problem: Problem, request_id: str) -> Response:
    """Renders ``problem``; ``instance`` is the request id, which the log line carries too."""
    content = {
        "type": f"urn:problem:{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request_id,
        **problem.members,
    }
    return Response(json.dumps(content), problem.status, problem.headers, MEDIA_TYPE)
