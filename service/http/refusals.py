"""What is answered to what no route sees: to no HTTP, to a head that is too large, to a body that arrives too slowly."""

from __future__ import annotations

import logging
import secrets
from collections.abc import MutableMapping
from typing import Any

from service.http.asgi import RawHeaders
from service.http.errors import (
    BadRequest,
    HeadTooLarge,
    InternalError,
    LengthRequired,
    NotImplementedHere,
    Problem,
    Stalled,
    Unavailable,
    VersionNotSupported,
    to_response,
)

# These the server adds itself.
_ADDED = frozenset((b"content-length", b"connection"))
_KINDS = (BadRequest, Stalled, LengthRequired, HeadTooLarge, NotImplementedHere, Unavailable, VersionNotSupported)
_PROBLEMS: dict[int, type[Problem]] = {kind.status: kind for kind in _KINDS}
_log = logging.getLogger("service.refusals")


def refuse(status: int, detail: str, scope: MutableMapping[str, Any] | None) -> tuple[RawHeaders, bytes]:
    """The header fields and the body of the answer, under the id of the request in ``scope``, whose log line has the status.

    Without one there is no request; then it is logged here, under the id that the answer carries.
    """
    problem = _PROBLEMS.get(status, InternalError)(detail)
    state: dict[str, Any] = scope.setdefault("state", {}) if scope is not None else {}
    state["refused"] = problem.status
    request_id = state.get("request_id") or secrets.token_hex(16)
    if scope is None:
        fields = {"request_id": request_id, "status": problem.status, "reason": detail}
        _log.info("no request", extra={"fields": fields})
    response = to_response(problem, request_id)
    headers = [(name, value) for name, value in response.raw_headers if name not in _ADDED]
    return [*headers, (b"x-request-id", request_id.encode())], bytes(response.body)
