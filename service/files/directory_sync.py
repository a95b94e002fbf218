"""Syncs a directory once for all who have changed it and wait: a sync covers every change made before it began."""

from __future__ import annotations

import threading
from collections.abc import Callable

from service.files.directories import Directory


class _Turn:
    """One sync of a directory, under way or to come."""

    __slots__ = ("_done", "error")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        # A Future or an Event does the same by ten times the work, at every upload.
        self._done = threading.Lock()
        self._done.acquire()

    def end(self) -> None:
        self._done.release()

    def wait(self) -> None:
        with self._done:
            pass


class DirectorySync:
    """``sync`` makes a directory, given as a descriptor, durable. Safe to use from several threads."""

    def __init__(self, sync: Callable[[int], None]) -> None:
        self._sync = sync
        self._lock = threading.Lock()
        self._running: dict[Directory, _Turn] = {}
        self._next: dict[Directory, _Turn] = {}

    def __call__(self, directory: Directory) -> None:
        """Returns once ``directory`` is durable as it is now. Raises OSError."""
        with self._lock:
            before = self._running.get(directory)
            turn = self._next.get(directory)
            leads = turn is None
            if turn is None:
                turn = _Turn()
                (self._running if before is None else self._next)[directory] = turn
        if leads:
            if before is not None:
                # Meanwhile others join.
                before.wait()
                with self._lock:
                    self._running[directory] = self._next.pop(directory)
            self._run(directory, turn)
        else:
            turn.wait()
        if turn.error is not None:
            raise turn.error

    def _run(self, directory: Directory, turn: _Turn) -> None:
        try:
            self._sync(directory.descriptor)
        except BaseException as error:
            turn.error = error
        with self._lock:
            if self._running[directory] is turn:
                del self._running[directory]
        turn.end()
