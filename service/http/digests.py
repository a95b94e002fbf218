"""SHA-256 in HTTP: the ``Content-Digest`` and ``Repr-Digest`` fields (RFC 9530) and entity tags made of them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping

from service.http.errors import BadRequest

# A member of a dictionary of byte sequences, RFC 8941, sections 3.2 and 3.3.5; its parameters mean nothing here. Unlike a
# list of RFC 9110 a dictionary has no empty members (section 4.2.2).
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?\s*", re.ASCII)


def parse(name: str, value: str) -> bytes | None:
    """The SHA-256 in the field ``name: value``, 32 bytes, or None if it names other algorithms only.

    Raises BadRequest for a field that can't be read, and for one with two values, of which a dictionary has the last:
    silently ignoring a digest would be worse than refusing it.
    """
    found: bytes | None = None
    position = 0
    while position <= len(value):
        match = _MEMBER.match(value, position)
        if match is None or value[match.end() : match.end() + 1] not in ("", ","):
            raise BadRequest(f"{name} is {value!r}; allowed: algorithms with base64 values, such as sha-256=:…:")
        if match[1] == "sha-256":
            try:
                digest = base64.b64decode(match[2], validate=True)
            except binascii.Error:
                digest = b""
            if len(digest) != 32:
                raise BadRequest(f"{name} has sha-256=:{match[2]}:; allowed: the base64 of 32 bytes")
            if found not in (None, digest):
                raise BadRequest(f"{name} has two different values of sha-256; allowed: one")
            found = digest
        position = match.end() + 1
    return found


def expected(headers: Mapping[str, str]) -> bytes | None:
    """The SHA-256 that a request promises for its content, 32 bytes, or None if it promises none.

    ``Content-Digest`` and ``Repr-Digest`` are the same thing for a whole, uncoded body. Raises BadRequest if either
    can't be read or the two contradict each other.
    """
    promises = {parse(name, headers[name]) for name in ("content-digest", "repr-digest") if name in headers} - {None}
    if len(promises) > 1:
        raise BadRequest("Content-Digest and Repr-Digest name different SHA-256 values; allowed: one value")
    return next(iter(promises), None)


def field(sha256: str) -> str:
    """The value of a digest field for the SHA-256 ``sha256``, given in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def policy_source(content: str) -> str:
    """What a Content-Security-Policy names an inline style or script by that is ``content``."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def etag(sha256: str) -> str:
    """The strong entity tag of content with the SHA-256 ``sha256``, given in hex."""
    return f'"{sha256}"'
