"""The head of an answer, as bytes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

Headers = Iterable[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What a value must not have in it, and a head has at the end of its lines only: one more would begin another field.
_CONTROLS = bytes(set(range(32)) - {9}) + b"\x7f"
_FRAMING = frozenset((b"transfer-encoding: ", b"content-length: ", b"connection: ", b"date: "))
_BODILESS = frozenset((204, 304))
_MOST_NAMES = 1000

# Names that were checked, as they stand in a head. An application has a few dozen.
_names: dict[bytes, bytes] = {}


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


def render_head(
    status: int, default: Headers, headers: Headers, *, method: str, version: str, keep_alive: bool
) -> tuple[bytes, bool, int | None, bool, bool]:
    """``default`` and ``headers`` as the head of an answer to a request of ``method`` and ``version``.

    And how the answer goes on: whether it has a body, of what length if that is told, whether it is chunked, and whether
    the connection is kept alive. Raises RuntimeError for what no head may have in it, and ValueError for a
    Content-Length that is none.
    """
    # Three parts a line.
    parts = [_STATUS_LINES[status], b"", b"\r\n"]
    length: int | None = None
    says_close = False
    for fields in (default, headers):
        for name, value in fields:
            known = _names.get(name) or _check_name(name)
            if known in _FRAMING:
                if known == b"transfer-encoding: ":
                    continue  # the server's own affair (ASGI, "Response Start")
                if known == b"content-length: ":
                    length = int(value)
                elif known == b"date: ":
                    if fields is default:
                        value = _date(int(time.time()))
                else:
                    says_close = says_close or b"close" in value.lower()
            parts += (known, value, b"\r\n")
    has_body = method != "HEAD" and status not in _BODILESS
    is_chunked = has_body and length is None and version == "1.1"
    if is_chunked:
        parts += (b"transfer-encoding: ", b"chunked", b"\r\n")
    if says_close or not keep_alive or (has_body and length is None and not is_chunked):
        keep_alive = False
        if not says_close:
            parts += (b"connection: ", b"close", b"\r\n")
    elif version == "1.0":
        parts += (b"connection: ", b"keep-alive", b"\r\n")
    lines = len(parts) // 3 + 1
    parts.append(b"\r\n")
    head = b"".join(parts)
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * lines:
        raise RuntimeError("A header has a control character in its value.")
    return head, has_body, length if has_body else None, is_chunked, keep_alive


@lru_cache(maxsize=1)
def _date(seconds: int) -> bytes:
    """uvicorn's own is up to a second old, and so earlier than a ``Last-Modified`` can be (RFC 9110, section 8.8.2.1)."""
    return formatdate(seconds, usegmt=True).encode()


def _check_name(name: bytes) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise RuntimeError(f"{name!r} can't be the name of a header.")
    if len(_names) >= _MOST_NAMES:
        _names.clear()
    known = _names[name] = name.lower() + b": "
    return known
