"""Gives memory that is free back to the system when much has passed through.

The C library keeps what is freed for the next one who asks, which is what makes large bodies fast; but between small
objects that live on, such as those of a thousand slow connections, it would keep it for good.
"""

from __future__ import annotations

import asyncio
import ctypes

from service.thread_pool import ThreadPool

EVERY_SECONDS = 2.0
# So much must have been received since the last time.
AFTER_BYTES = 16 * 1024 * 1024


class MallocTrim:
    """``passed`` counts the bytes that requests have brought; whoever receives them adds to it."""

    def __init__(self) -> None:
        self.passed = 0
        # Only glibc has it, and only glibc needs it.
        self._malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def trim(self) -> None:
        """Blocks for some milliseconds."""
        if self._malloc_trim is not None:
            self._malloc_trim(0)

    async def keep_trim(self, threads: ThreadPool, *, every_seconds: float = EVERY_SECONDS) -> None:
        """Trims for ever, in one of ``threads``; cancelled when the API stops."""
        again = False
        while True:
            await asyncio.sleep(every_seconds)
            much = self.passed >= AFTER_BYTES
            self.passed = 0
            # Once more after the traffic has ended: what it used last was not free yet.
            if much or again:
                threads.forget(self.trim)
            again = much
