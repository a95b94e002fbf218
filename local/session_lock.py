"""One session a checkout. Needs the standard library alone, so that cleaning up works without the packages."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from local.paths import LocalPaths


class SessionFailed(Exception):
    """The stack could not be brought up; the message says why."""


@contextmanager
def only_session(paths: LocalPaths) -> Iterator[None]:
    """Holds the checkout's session lock. Raises `SessionFailed` when another session has it."""
    paths.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with paths.lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SessionFailed("`make up` is running for this checkout already: use it, or stop it first") from None
        yield
