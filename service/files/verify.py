"""Reads stored files back and compares them with their SHA-256, which is what finds bytes that have changed on disk.

Each run reads so many bytes, goes on after the file at which the one before has ended, and begins again with the oldest
after the newest. Where it is lies in ``incoming/verified``; should that be lost, it begins with the oldest. Nothing is ever
removed: a damaged file is logged by its name, for a person to bring back from a backup.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.files import ids, listing, record
from service.files.parts import FOLDER
from service.files.record import DamagedFile
from service.files.store import FileStore
from service.http.conditions import ByteRange

PIECE_BYTES = 1024 * 1024
# So much is verified again at most when a run is killed.
KEEP_PLACE_SECONDS = 10.0

_log = logging.getLogger("service.verify")


@dataclass(slots=True)
class Verified:
    files: int = 0
    bytes: int = 0
    damaged: int = 0
    unreadable: int = 0


def verify(root: Path, most_bytes: int) -> Verified:
    """Verifies files under ``root`` until ``most_bytes`` are read, the last one to its end, or all have been once.

    Raises OSError if the store can't be listed or the place can't be kept; a file that can't be read is counted.
    """
    found = Verified()
    store = FileStore(root)
    place = root / FOLDER / "verified"
    last = _read_place(place)
    kept_at = time.monotonic()
    for file_id in _from(root, last):
        if found.bytes >= most_bytes:
            break
        _verify(store, file_id, found)
        last = file_id
        if time.monotonic() - kept_at >= KEEP_PLACE_SECONDS:
            _keep_place(place, last)
            kept_at = time.monotonic()
    store.close()
    _keep_place(place, last)
    return found


def _from(root: Path, after: str) -> Iterator[str]:
    """Every id once, beginning after ``after``."""
    yield from listing.walk(root, after)
    if after:
        yield from itertools.takewhile(lambda file_id: file_id <= after, listing.walk(root))


def _read_place(place: Path) -> str:
    try:
        return ids.parse(place.read_text("ascii")) or ""
    except (FileNotFoundError, ValueError):
        return ""


def _keep_place(place: Path, file_id: str) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text(file_id, "ascii")


def _verify(store: FileStore, file_id: str, found: Verified) -> None:
    path = store.root.joinpath(*ids.directory(file_id), file_id)
    try:
        with store.open(file_id, read_all_up_to=0) as file:
            expected, size = file.record.sha256, file.record.size
            digest = hashlib.sha256()
            for start in range(0, size, PIECE_BYTES):
                digest.update(file.read(ByteRange(start, min(start + PIECE_BYTES, size))))
        found.bytes += size + record.SIZE
        if digest.hexdigest() != expected:
            raise DamagedFile(f"{file_id}: its SHA-256 is {digest.hexdigest()}, {expected} was stored")
    except FileNotFoundError:
        return  # deleted since it was listed
    except DamagedFile as error:
        found.damaged += 1
        _log.error("a stored file is damaged", extra={"fields": {"file": path, "reason": str(error)}})
    except OSError as error:
        found.unreadable += 1
        _log.error("a stored file can't be read", extra={"fields": {"file": path, "reason": str(error)}})
    found.files += 1
