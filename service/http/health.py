"""``/healthcheck`` and ``/health``: can this process serve? ``/health/live``: will it ever again, or must it be replaced?

The storage is asked at most every few seconds, by a thread of its own and within a bound: a network file system that
hangs must show as 503 and not as a health check that never answers, and upload traffic must not delay the question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from service.http.errors import Unavailable
from service.http.lifecycle import Lifecycle
from service.thread_pool import CallHangs, ThreadPool

# Of the threads of a pool; the others still serve.
HANGING_SHARE = 0.25


class StorageProbe:
    """Asks ``probe``, which blocks and raises OSError if the storage is not well, and remembers the answer."""

    def __init__(self, probe: Callable[[], None], *, bound_seconds: float = 2.0, keep_seconds: float = 3.0) -> None:
        self._probe = probe
        self._bound_seconds = bound_seconds
        self._keep_seconds = keep_seconds
        self._threads = ThreadPool("probe", 1)
        self._asking: asyncio.Future[None] | None = None
        self._answer: str | None = None
        self._answered_at = float("-inf")
        self._watched: tuple[ThreadPool, ...] = ()
        self.fault = self._threads.fault

    def watch(self, *pools: ThreadPool) -> None:
        """Takes it for a storage that can't be used when calls hang in a quarter of the threads of one of ``pools``.

        Not fewer: one file that can't be read, whoever asks for it, must not take the process out of service.
        """
        self._watched = pools

    async def reason(self) -> str | None:
        """Why the storage can't be used, or None if it can."""
        for pool in self._watched:
            if (hanging := pool.hanging) >= max(1, pool.size * HANGING_SHARE):
                return f"calls to the storage hang in {hanging} of {pool.size} threads"
        if time.monotonic() - self._answered_at < self._keep_seconds:
            return self._answer
        # A question that hangs is waited for again, not asked again: one thread is all that it may cost.
        try:
            if self._asking is None or self._asking.done():
                self._asking = self._threads.start(self._probe)
            await asyncio.wait_for(asyncio.shield(self._asking), self._bound_seconds)
            self._answer = None
        except TimeoutError:
            return f"the storage has not answered within {self._bound_seconds:g} s"
        except CallHangs as error:
            return str(error)
        except OSError as error:
            self._answer = f"the storage failed: {error.strerror or error}"
        self._answered_at = time.monotonic()
        return self._answer

    def close(self) -> None:
        self._threads.close(wait=False)


class Liveness:
    """Whether everything that the process was started with can still do its work: pools, tasks and threads.

    What has ended never begins again: only another process helps, which whoever asks ``/health/live`` sees to.
    """

    def __init__(self) -> None:
        self._faults: list[Callable[[], str | None]] = []

    def watch(self, *faults: Callable[[], str | None]) -> None:
        """Each of ``faults`` says why something can't work, or None if it can. Quick, and without I/O."""
        self._faults += faults

    def watch_end(self, name: str, has_ended: Callable[[], bool]) -> None:
        """``name`` is of something that runs as long as the process does."""
        self.watch(lambda: f"{name} has ended" if has_ended() else None)

    def reason(self) -> str | None:
        """Why the process can't do its work, or None if it can."""
        found = [fault for ask in self._faults if (fault := ask()) is not None]
        return "; ".join(found) or None


class HealthRoutes:
    def __init__(self, probe: StorageProbe, lifecycle: Lifecycle, liveness: Liveness) -> None:
        self._probe = probe
        self._liveness = liveness
        self._lifecycle = lifecycle

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/healthcheck", self._ready),
            Route("/health", self._ready),
            Route("/health/live", self._live),
        ]

    async def _ready(self, _: Request) -> Response:
        if self._lifecycle.draining:
            raise Unavailable("The service is draining.", is_fault=False)
        if (reason := await self._probe.reason()) is not None:
            raise Unavailable(f"Not ready: {reason}.", is_fault=False)
        return JSONResponse({"status": "ok"})

    async def _live(self, _: Request) -> Response:
        if (reason := self._liveness.reason()) is not None:
            raise Unavailable(f"Not alive: {reason}.", is_fault=False)
        return JSONResponse({"status": "ok"})
