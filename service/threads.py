"""A bounded pool of threads for calls that block, so that none ever runs on the event loop.

Each kind of call gets a pool of its own: a file system that hangs must not take the threads that talk to the queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("service.threads")


class Threads:
    """At most ``size`` threads; further calls wait in line."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Runs ``call`` in a thread. The future may be dropped: what it raises is then dropped as well."""
        future = asyncio.wrap_future(self._executor.submit(call, *args, **kwargs))
        future.add_done_callback(_retrieve)
        return future

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``call`` in a thread and returns what it returns. Cancelled, it stops waiting; the call goes on."""
        return await self.start(call, *args, **kwargs)

    def forget(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Runs ``call`` in a thread and waits for nothing; what it raises is logged."""
        self._executor.submit(call, *args, **kwargs).add_done_callback(_report)

    def close(self, *, wait: bool = True) -> None:
        """Lets what has begun finish and, if ``wait``, waits for everything that is still in line."""
        self._executor.shutdown(wait=wait, cancel_futures=not wait)


def _retrieve(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()  # marks it as seen, or asyncio logs it as never retrieved


def _report(future: Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("a call in the background failed", exc_info=error)
