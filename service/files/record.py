"""What is kept about a stored file, at the end of the file itself.

A stored file is the bytes that were uploaded, followed by one record of exactly ``SIZE`` bytes:

    \\narquivo/1 {"sha256": "…", "size": 12, "type": "text/plain"}      …spaces…      \\n

What was uploaded with content codings has ``"encoding": "gzip"`` too.

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
    content_encoding: str = ""
    """The content codings of the bytes stored, as a ``Content-Encoding`` field has them; empty where there are none."""


def encode(record: Record) -> bytes:
    """The ``SIZE`` bytes that end a stored file. Raises ValueError if content type and encoding leave no room."""
    encoded = b'%b{"sha256": "%b", "size": %d, "type": %b}' % (
        _MAGIC,
        record.sha256.encode(),
        record.size,
        _quoted(record.content_type),
    )
    if record.content_encoding:
        encoded = b'%b, "encoding": %b}' % (encoded[:-1], _quoted(record.content_encoding))
    if len(encoded) >= SIZE:
        with_encoding = f" and an encoding of {len(record.content_encoding)}" if record.content_encoding else ""
        raise ValueError(
            f"a content type of {len(record.content_type)} characters{with_encoding} does not fit the record"
        )
    return encoded.ljust(SIZE - 1) + b"\n"


@lru_cache(maxsize=256)
def check(content_type: str, content_encoding: str) -> None:
    """Raises ValueError if both together are too long for the record of a file of any size."""
    encode(Record(size=2**63, sha256="0" * 64, content_type=content_type, content_encoding=content_encoding))


@lru_cache(maxsize=256)
def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


def decode(encoded: bytes, stored_bytes: int) -> Record:
    """Reads the last ``SIZE`` bytes of a file of ``stored_bytes`` bytes in all. Raises DamagedFile."""
    try:
        if len(encoded) != SIZE or not encoded.startswith(_MAGIC):
            raise ValueError("no record at its end")
        content = json.loads(encoded[len(_MAGIC) :])
        encoding = content["encoding"] if "encoding" in content else ""  # noqa: SIM401  without a call
        record = Record(content["size"], content["sha256"], content["type"], encoding)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"not a stored file: {error}") from error
    if record.size + SIZE != stored_bytes:
        raise DamagedFile(f"holds {stored_bytes - SIZE} bytes, {record.size} were stored")
    return record
