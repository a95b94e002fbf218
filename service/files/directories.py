"""Directories of the store, held open.

A file is opened and named relative to its directory's descriptor. So no path is walked again at every request, each step
of which may be a round trip on a network file system, and no symbolic link that someone has planted on the way leads out
of the store: a directory is opened step by step and links are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

# Uploads go to a handful at a time. Downloads may go anywhere, but mostly to what was uploaded lately.
MOST_OPEN = 256

# Of a file or directory that was removed: ESTALE is how a network file system says it of one that is open here or whose
# name is still cached (RFC 1813, NFS3ERR_STALE; RFC 8881, NFS4ERR_STALE). Both pass when the name is looked up again.
GONE = (errno.ENOENT, errno.ESTALE)

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """An open directory; closed when nobody refers to it any more."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Directories:
    """The directories below ``root``, each named by the steps that lead to it. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._open: OrderedDict[tuple[str, ...], Directory] = OrderedDict()
        # Those that this process has synced all the way down: that one is there says nothing, since whoever has made it
        # may not have synced it yet.
        self._durable: set[tuple[str, ...]] = set()

    def get(self, steps: tuple[str, ...]) -> Directory:
        """Raises OSError: FileNotFoundError where there is none, ENOTDIR or ELOOP where there is something else."""
        with self._lock:
            found = self._open.get(steps)
            if found is not None:
                self._open.move_to_end(steps)
                return found
        return self._add(steps, self._find(steps))

    def make(self, steps: tuple[str, ...], sync: Callable[[int], None]) -> Directory:
        """``get`` for a directory that may have to be made first; durable on return."""
        if steps in self._durable:
            try:
                return self.get(steps)
            except OSError:
                pass
        # One at a time: those who come for the same directory find it made.
        with self._making:
            depth = next((depth for depth in range(len(steps), 0, -1) if steps[:depth] in self._durable), 0)
            try:
                directory = self.get(steps[:depth])
            except OSError:
                # Gone, stale, or something that the way from the root will tell of as well.
                depth, directory = 0, self._add((), Directory(os.open(self._root, _OPEN)))
            for step in steps[depth:]:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, dir_fd=directory.descriptor)
                sync(directory.descriptor)
                depth += 1
                directory = self._add(steps[:depth], Directory(os.open(step, _OPEN, dir_fd=directory.descriptor)))
                self._durable.add(steps[:depth])
            if len(self._durable) > MOST_OPEN:
                self._durable.clear()
        return directory

    def forget(self, steps: tuple[str, ...]) -> None:
        """The next ``get`` opens it afresh: another process may have removed it and those above, and made them again.

        The root as well, which a network file system that was mounted again knows by another handle.
        """
        with self._lock:
            for depth in range(len(steps) + 1):
                self._open.pop(steps[:depth], None)
                self._durable.discard(steps[:depth])

    def close(self) -> None:
        """Closes all that nobody uses at the moment."""
        with self._lock:
            self._open.clear()

    def _find(self, steps: tuple[str, ...]) -> Directory:
        found = Directory(os.open(self._root, _OPEN))
        for step in steps:
            found = Directory(os.open(step, _OPEN, dir_fd=found.descriptor))
        return found

    def _add(self, steps: tuple[str, ...], directory: Directory) -> Directory:
        with self._lock:
            self._open[steps] = directory
            self._open.move_to_end(steps)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        return directory
