"""Waiting for threads that may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable


def join(threads: Iterable[threading.Thread], timeout_seconds: float | None = None) -> bool:
    """Waits until all have ended, ``timeout_seconds`` at most for all together. Returns whether they have."""
    until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    ended = True
    for thread in threads:
        thread.join(None if until is None else max(0.0, until - time.monotonic()))
        ended = ended and not thread.is_alive()
    return ended
