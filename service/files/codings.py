"""The content codings of an upload, such as gzip: they belong to what is stored (RFC 9110, section 8.4).

Nothing is decoded here. The bytes are kept as they came, and the codings beside them, so that a client that reads the file
knows how. ETag, Repr-Digest (RFC 9530, section 3) and ranges (RFC 9110, section 14.1.2) are of the encoded bytes.
"""

from __future__ import annotations

import re

from service.http.errors import BadRequest
from service.http.fields import members

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def parse(value: bytes) -> str:
    """The codings in ``value``, all ``Content-Encoding`` lines of a request joined by commas, in the order given.

    ``identity`` is left out, for it says nothing and is not to be sent (RFC 9110, section 8.4). Raises BadRequest.
    """
    found = []
    for coding in members(value.decode("latin-1")):
        if not _TOKEN.fullmatch(coding):
            raise BadRequest(f"Content-Encoding has {coding!r}; allowed: names of content codings, such as gzip")
        if coding.lower() != "identity":
            found.append(coding)
    return ", ".join(found)
