"""Ends the wait for a client that sends nothing any more.

One timer watches all bodies that are being received; a timeout of its own for each piece of each body would cost a
small upload more than reading it.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive


class IdleTimeouts:
    """For one event loop. ``seconds`` is how long a client may send nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # In the order in which they began to wait, which is the order in which they stall.
        self._waiting: dict[asyncio.Task[object], float] = {}
        self._stalled: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def receive(self, receive: Receive) -> Message:
        """What ``receive`` returns. Raises TimeoutError if it takes longer than ``seconds``."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._end, loop)
        try:
            return await receive()
        except asyncio.CancelledError:
            if task in self._stalled and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._waiting.pop(task, None)
            self._stalled.discard(task)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._waiting:
            task, until = next(iter(self._waiting.items()))
            if until > now:
                self._timer = loop.call_later(until - now, self._end, loop)
                return
            del self._waiting[task]
            self._stalled.add(task)
            task.cancel()
