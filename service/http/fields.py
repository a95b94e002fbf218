"""A request's header fields, each under its name once.

A field that is a list may come on several lines, which are one list in the order in which they came (RFC 9110, section
5.3). One that holds a single value may not: of two, a proxy in front might go by the one and this service by the other,
so that the request is refused.

``Middleware`` combines them once, as ``scope["fields"]``, and everything else reads them from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set

from starlette.types import Scope

from service.http.errors import BadRequest, Problem

Fields = Mapping[bytes, bytes]
"""Names are in lower case."""

# Those that mean something here and have no list in their grammar: RFC 9110, sections 7.2, 8.3, 8.6, 11.6.2, 13.1.3 to
# 13.1.5 and 14.2. Idempotency-Key is an item by draft-ietf-httpapi-idempotency-key-header, section 2.1.
SINGLE = frozenset(
    (
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"if-modified-since",
        b"if-range",
        b"if-unmodified-since",
        b"range",
    )
)
# A comma within a quoted string ends no member (RFC 9110, section 5.6.4).
_MEMBER = re.compile(r'(?:[^,"]+|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)


def combine(headers: Sequence[tuple[bytes, bytes]]) -> tuple[Fields, Problem | None]:
    """The fields of ``headers``, an ASGI scope's, and why the request has to be refused, if it has.

    A single value that comes twice is there as it came first.
    """
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields, None
    fields = {}
    refusal = None
    for name, value in headers:
        if name not in fields:
            fields[name] = value
        elif name in SINGLE:
            refusal = BadRequest(f"{name.decode().title()} comes more than once; allowed: one line with one value")
        else:
            fields[name] = b"%b, %b" % (fields[name], value)
    return fields, refusal


def read(scope: Scope) -> Fields:
    """The fields of the request in ``scope``. Raises BadRequest unless ``Middleware`` has seen to it already."""
    if "fields" not in scope:
        fields, refusal = combine(scope["headers"])
        if refusal is not None:
            raise refusal
        scope["fields"] = fields
    found: Fields = scope["fields"]
    return found


def select(scope: Scope, names: Set[bytes]) -> dict[str, str]:
    """Those of ``names`` that the request has, as text."""
    fields = read(scope)
    return {name.decode(): fields[name].decode("latin-1") for name in names if name in fields}


def members(value: str) -> Iterator[str]:
    """The members of a list, blanks around them removed; empty ones are none (RFC 9110, section 5.6.1)."""
    return (member for found in _MEMBER.findall(value) if (member := found.strip(" \t")))
