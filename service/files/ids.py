"""Names of stored files: UUIDv7 (RFC 9562, section 5.7), and the directory that follows from a name alone.

A name says when the file was stored, so names in order are files in order of age, and it says in which directory the
file lies, so that no index and no look-up is needed. Directories get deeper with the rate at which files come in:

    level  lies in        a directory covers           example
    0      0197/8a        2**24 ms, 4.7 hours          0197/8a/01978a3b-2c1d-7…-8…
    1      0197/8a/3b     2**16 ms, 66 s               0197/8a/3b/01978a3b-2c1d-7…-9…
    2      0197/8a/3b/27  2**12 ms, a sixteenth of it  0197/8a/3b/27/01978a3b-2c1d-7…-a7…

Each process puts the first ``ROOM`` names of a span in the directory of that span and the rest one level deeper. So a
directory holds few files, whatever the number of files in the store: reading one costs the same at ten files and at a
million, and a quiet store doesn't pay for a directory a file. The deepest level spreads the files of a moment over 16
directories by a random digit: a directory takes one change at a time, on a network file system some milliseconds each.

The level is the first of the version's random digits after the two variant bits (8, 9 or a) and the spread the one after
it; the twelve bits after the version are the fraction of the millisecond, as section 6.2, method 3, describes.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable

ROOM = 512
LEVELS = 3
TOP_DIGITS = 4
STEP_DIGITS = 2
# Of a directory's digits, those that are a time; the last one of the deepest is not.
TIME_DIGITS = 9
LENGTH = 36
# Used of each id; what 1,024 bytes make is a multiple of it.
RANDOM_DIGITS = 16

_NAME = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89a][0-9a-f]{3}-[0-9a-f]{12})(?:\.txt)?", re.ASCII)


class IdSource:
    """Makes ids that only grow within this process. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self._randomness = ""
        self._randomness_used = 0
        self._spans = [""] * (LEVELS - 1)
        self._used = [0] * (LEVELS - 1)

    def next(self, *, spread: bool = False) -> str:
        """An id greater than every one before; ``spread`` puts it in one of the 16 directories of its moment."""
        with self._lock:
            nanoseconds = self._clock()
            milliseconds, rest = divmod(nanoseconds, 1_000_000)
            # A clock that is set back must not put a new file before an old one.
            last = self._last = max(self._last + 1, milliseconds << 12 | rest * 4096 // 1_000_000)
            stamp = f"{last >> 12:012x}"
            level = LEVELS - 1 if spread else self._level(stamp)
            random = self._random()
        variant = "89a"[level]
        return f"{stamp[:8]}-{stamp[8:]}-7{last & 0xFFF:03x}-{variant}{random[:3]}-{random[3:15]}"

    def _random(self) -> str:
        """Under the lock."""
        # Asking the kernel for each is a noticeable part of a small upload.
        if self._randomness_used == len(self._randomness):
            self._randomness, self._randomness_used = os.urandom(1024).hex(), 0
        begin = self._randomness_used
        self._randomness_used += RANDOM_DIGITS
        return self._randomness[begin : begin + RANDOM_DIGITS]

    def stamp(self) -> str:
        """The first twelve digits of an id made now."""
        return f"{self._clock() // 1_000_000:012x}"

    def _level(self, stamp: str) -> int:
        for level in range(LEVELS - 1):
            span = stamp[: TOP_DIGITS + STEP_DIGITS * (level + 1)]
            if self._spans[level] != span:
                self._spans[level] = span
                self._used[level] = 0
            if self._used[level] < ROOM:
                self._used[level] += 1
                return level
        return LEVELS - 1


def parse(name: str) -> str | None:
    """The id in ``<id>`` or ``<id>.txt``, or None if ``name`` is no name of a file in this store."""
    match = _NAME.fullmatch(name.lower())
    return match[1] if match else None


def directory(file_id: str) -> tuple[str, ...]:
    """The directories, outermost first, that lead to ``file_id``, an id as ``parse`` returns it."""
    digits = file_id[:8] + file_id[9:13]
    level = file_id[19]
    if level == "8":
        return digits[:4], digits[4:6]
    if level == "9":
        return digits[:4], digits[4:6], digits[6:8]
    return digits[:4], digits[4:6], digits[6:8], digits[8] + file_id[20]


def created(file_id: str) -> int:
    """When ``file_id`` was stored, as an epoch time in whole seconds."""
    return int(file_id[:8] + file_id[9:13], 16) // 1000
