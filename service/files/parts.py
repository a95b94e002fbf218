"""Where the parts of uploads lie while they are written: ``incoming/<process>-<n>/<m>.part``.

A directory for each upload at the same time, since the kernel lets one change a directory at a time and on a network file
system a change takes a round trip.

Each process touches ``incoming/<process>.alive`` while it lives, by a thread that does nothing else: see ``heartbeat``.
Every other process looks at that file every ``BEAT_SECONDS``, and removes it with all parts of its process when
``DEAD_LOOKS`` looks, one after the other, have found it as the look before did. So no clock is compared with another, a
process that has just started removes nothing, and after a time in which everything stood still (a file system that hung,
a host that was suspended) those who live have that many looks to say so. Should a process be taken for dead all the
same, its uploads under way fail, and none of them is reported as stored. A lock would tell sooner, but a process that
holds one can not even end while a network file system hangs.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import logging
import os
import secrets
import threading
from pathlib import Path

from service.files.directories import GONE

FOLDER = "incoming"
ALIVE_SUFFIX = ".alive"
# Directories for the parts of one process, as many as it has uploads at the same time, but no more than this.
SPREAD = 32
BEAT_SECONDS = 10.0
# With a look every ``BEAT_SECONDS``: a minute without a heartbeat.
DEAD_LOOKS = 6
# No room for one more: what is there can still be read and deleted.
_FULL = (errno.ENOSPC, errno.EDQUOT)

_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_log = logging.getLogger("service.incoming")


class Parts:
    """The parts of this process. Everything here blocks. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._prefix = f"{self._folder}/{self._process}-"
        self._numbers = itertools.count(1)
        self._slots = _Slots()
        self._alive = self._folder / (self._process + ALIVE_SUFFIX)
        self._looking = threading.Lock()
        # Of each other process, its heartbeat when last seen and how many looks have found it as the one before.
        self._seen: dict[str, tuple[int, int]] = {}

    def prepare(self) -> None:
        """Says that this process lives, and makes ready for its first upload. Raises OSError."""
        # First of all: what has no heartbeat beside it is found by the sweep alone.
        self.beat()
        self._directory(0).mkdir()

    def beat(self) -> None:
        """Says that this process lives: one write past every cache, so it fails wherever an upload would.

        Raises OSError, but for a file system that is full: that one still serves what is on it.
        """
        try:
            try:
                # Path.touch() would pass over what this says wherever the file can still be opened.
                os.utime(self._alive)
            except OSError as error:
                # Another process has taken this one for dead.
                if error.errno not in GONE:
                    raise
                self._folder.mkdir(exist_ok=True)
                self._alive.touch()
        except OSError as error:
            if error.errno not in _FULL:
                raise

    def close(self) -> None:
        """Removes this process's directories, if no part is in them, and its heartbeat."""
        with contextlib.suppress(OSError):
            for number in range(min(SPREAD, self._slots.most)):
                with contextlib.suppress(FileNotFoundError):
                    self._directory(number).rmdir()
            self._alive.unlink()

    def create(self) -> tuple[int, str, int]:
        """A new part: its descriptor, its path, and the slot to give back by ``release`` when it is gone."""
        slot = self._slots.take()
        # A Path takes the time of three system calls.
        path = f"{self._prefix}{slot % SPREAD}/{next(self._numbers)}.part"
        try:
            try:
                return os.open(path, _OPEN_NEW, 0o600), path, slot
            except OSError as error:
                # Not needed so far; or the sweep has removed it after it had been empty and idle for long.
                if error.errno not in GONE:
                    raise
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                return os.open(path, _OPEN_NEW, 0o600), path, slot
        except BaseException:
            self._slots.give_back(slot)
            raise

    def release(self, slot: int) -> None:
        self._slots.give_back(slot)

    def _directory(self, number: int) -> Path:
        return Path(f"{self._prefix}{number}")

    def clean(self) -> None:
        """One look at the other processes: removes what dead ones have left. To be called every ``BEAT_SECONDS``.

        Raises OSError. A look that hangs takes the place of those that would follow: several at once would count as so
        much time.
        """
        if not self._looking.acquire(blocking=False):
            return
        try:
            seen, self._seen = self._seen, {}
            for path in self._folder.glob(f"*{ALIVE_SUFFIX}"):
                if path != self._alive:
                    self._look(path, *seen.get(path.stem, (-1, 0)))
        finally:
            self._looking.release()

    def _look(self, alive: Path, last: int, looks: int) -> None:
        fields: dict[str, object] = {"process": alive.stem}
        try:
            beat = _beat_of(alive)
            looks = looks + 1 if beat == last else 0
            if looks < DEAD_LOOKS:
                self._seen[alive.stem] = (beat, looks)
                return
            fields["parts"] = self._remove(alive.stem)
            alive.unlink()
            _log.info("parts of a dead process removed", extra={"fields": fields})
        except OSError as error:
            if error.errno in GONE:
                return  # another process cleans up as well
            # What others have left behind must not keep this process from its work.
            fields["reason"] = str(error)
            _log.warning("parts of a dead process can't be removed", extra={"fields": fields})

    def _remove(self, process: str) -> int:
        removed = 0
        for directory in self._folder.glob(f"{process}-*/"):
            for part in directory.glob("*.part"):
                part.unlink(missing_ok=True)
                removed += 1
            directory.rmdir()
        return removed


def _beat_of(alive: Path) -> int:
    # Only opening a file makes an NFS client ask the server how old it is; a path's attributes may be a minute old: nfs(5),
    # "Close-to-open cache consistency" and acregmax.
    descriptor = os.open(alive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


class _Slots:
    """Numbers from 0 on, the lowest that nobody has at the moment."""

    def __init__(self) -> None:
        self.most = 1
        self._lock = threading.Lock()
        self._free: list[int] = [0]

    def take(self) -> int:
        with self._lock:
            if not self._free:
                self.most += 1
                return self.most - 1
            return heapq.heappop(self._free)

    def give_back(self, number: int) -> None:
        with self._lock:
            heapq.heappush(self._free, number)
