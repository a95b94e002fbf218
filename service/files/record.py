"""What is kept about a stored file, at the end of the file itself.

A stored file is the bytes that were uploaded, followed by one record of exactly ``SIZE`` bytes:

    \\narquivo/1 {"sha256": "…", "size": 12, "type": "text/plain"}      …spaces…      \\n

One file, because data and record then appear and vanish together whatever happens, and because on a network file
system each further file costs round trips at every upload and every download. ``head -c -512`` gets the bytes by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

SIZE = 512
_MAGIC = b"\narquivo/1 "


class DamagedFile(Exception):
    """A file in the store has no valid record: it was cut short or written by something else."""


@dataclass(frozen=True, slots=True)
class Record:
    size: int
    """Bytes of content, without the record."""
    sha256: str
    """Of the content, in hex."""
    content_type: str


def encode(record: Record) -> bytes:
    """The ``SIZE`` bytes that end a stored file. Raises ValueError if the content type leaves no room."""
    encoded = b'%b{"sha256": "%b", "size": %d, "type": %b}' % (
        _MAGIC,
        record.sha256.encode(),
        record.size,
        _encoded_type(record.content_type),
    )
    if len(encoded) >= SIZE:
        raise ValueError(f"a content type of {len(record.content_type)} characters does not fit the record")
    return encoded.ljust(SIZE - 1) + b"\n"


@lru_cache(maxsize=256)
def check_content_type(content_type: str) -> None:
    """Raises ValueError if ``content_type`` is too long for the record of a file of any size."""
    encode(Record(size=2**63, sha256="0" * 64, content_type=content_type))


@lru_cache(maxsize=256)
def _encoded_type(content_type: str) -> bytes:
    return json.dumps(content_type).encode()


def decode(encoded: bytes, stored_bytes: int) -> Record:
    """Reads the last ``SIZE`` bytes of a file of ``stored_bytes`` bytes in all. Raises DamagedFile."""
    try:
        if len(encoded) != SIZE or not encoded.startswith(_MAGIC):
            raise ValueError("no record at its end")
        content = json.loads(encoded[len(_MAGIC) :])
        record = Record(size=content["size"], sha256=content["sha256"], content_type=content["type"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"not a stored file: {error}") from error
    if record.size + SIZE != stored_bytes:
        raise DamagedFile(f"holds {stored_bytes - SIZE} bytes, {record.size} were stored")
    return record
