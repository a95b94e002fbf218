"""Where the parts of uploads lie while they are written: ``incoming/<process>-<n>/<m>.part``.

A directory for each upload at the same time, since the kernel lets one change a directory at a time and on a network file
system a change takes a round trip.

Each process touches ``incoming/<process>.alive`` while it lives. Whoever finds that of another process long untouched, at
its start or later, removes it with all parts of that process. The times are compared as the file system tells them, so
that the clocks of hosts do not matter. Should a process be taken for dead that only stood still, its uploads under way
fail, and none of them is reported as stored. A lock would tell sooner, but a process that holds one can not even end
while a network file system hangs.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import secrets
import threading
from pathlib import Path

FOLDER = "incoming"
ALIVE_SUFFIX = ".alive"
# Directories for the parts of one process, as many as it has uploads at the same time, but no more than this.
SPREAD = 32
BEAT_SECONDS = 10.0
DEAD_SECONDS = 60.0

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

    def prepare(self) -> None:
        """Says that this process lives, and removes what dead ones have left. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # First of all: what has no sign of life beside it is found by the sweep alone.
        self._alive.touch()
        self._directory(0).mkdir()
        self.beat()

    def beat(self) -> None:
        """Says that this process still lives, and removes what dead ones have left. Raises OSError."""
        self._alive.touch()
        self._clean(self._alive.stat().st_mtime - DEAD_SECONDS)

    def close(self) -> None:
        """Removes this process's directories, if no part is in them, and its sign of life."""
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
            except FileNotFoundError:
                # Not needed so far; or the sweep has removed it after it had been empty and idle for long.
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                return os.open(path, _OPEN_NEW, 0o600), path, slot
        except BaseException:
            self._slots.give_back(slot)
            raise

    def release(self, slot: int) -> None:
        self._slots.give_back(slot)

    def _directory(self, number: int) -> Path:
        return Path(f"{self._prefix}{number}")

    def _clean(self, touched_before: float) -> None:
        for path in self._folder.glob(f"*{ALIVE_SUFFIX}"):
            fields: dict[str, object] = {"process": path.stem}
            try:
                if path.stat().st_mtime < touched_before:
                    fields["parts"] = self._remove(path.stem)
                    path.unlink()
                    _log.info("parts of a dead process removed", extra={"fields": fields})
            except FileNotFoundError:
                pass  # another process cleans up as well
            except OSError as error:
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
