"""Sends messages that arrive within a few milliseconds together, and tells each caller about its own.

A call to SQS costs the same for one message as for ten, in money and in processor time. Memory is bounded: a message
that finds the buffer full is refused at once, which is better than being accepted and kept waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from service.errors import Unavailable
from service.queues import BATCH_BYTES, BATCH_ENTRIES, Accepted, Outbox, Outgoing, QueueAway, Refused
from service.threads import Threads

_log = logging.getLogger("service.sender")


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Outgoing
    size: int
    outcome: asyncio.Future[str]


class Sender:
    """Coalesces messages into batches. For one event loop."""

    def __init__(
        self,
        outbox: Outbox,
        threads: Threads,
        *,
        linger_seconds: float = 0.003,
        calls: int = 4,
        room_messages: int = 2000,
        room_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        """``calls`` batches are under way at most, and at most as many as ``threads`` has threads; the rest waits."""
        self._outbox = outbox
        self._threads = threads
        self._linger_seconds = linger_seconds
        self._calls = min(calls, threads.size)
        self._room_messages = room_messages
        self._room_bytes = room_bytes
        self._waiting: deque[_Waiting] = deque()
        self._buffered_messages = 0
        self._buffered_bytes = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, message: Outgoing) -> str:
        """Returns the message's id once the queue has said yes to it. Raises Unavailable: the client may try again."""
        size = message.size
        if self._buffered_messages >= self._room_messages or self._buffered_bytes + size > self._room_bytes:
            raise Unavailable("Too many messages are waiting for the queue; try again.", retry_after_seconds=2)
        self._buffered_messages += 1
        self._buffered_bytes += size
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(message, size, outcome))
        if len(self._waiting) >= BATCH_ENTRIES:
            self._dispatch()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger_seconds, self._dispatch)
        return await outcome

    def _dispatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._under_way) < self._calls:
            task = asyncio.get_running_loop().create_task(self._send(self._take()))
            self._under_way.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._dispatch()

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        room = BATCH_BYTES - batch[0].size
        while self._waiting and len(batch) < BATCH_ENTRIES and self._waiting[0].size <= room:
            room -= self._waiting[0].size
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        outcomes: list[Accepted | Refused]
        try:
            outcomes = await self._threads.run(self._outbox.send, [waiting.message for waiting in batch])
        except QueueAway as error:
            _log.error("the queue is away", extra={"fields": {"reason": str(error), "messages": len(batch)}})
            outcomes = [Refused(str(error), "the queue could not be reached")] * len(batch)
        except Exception as error:
            _log.exception("a batch could not be sent")
            outcomes = [Refused(type(error).__name__, "the batch failed")] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._buffered_messages -= 1
            self._buffered_bytes -= waiting.size
            if waiting.outcome.done():
                continue  # the caller has gone
            if isinstance(outcome, Accepted):
                waiting.outcome.set_result(outcome.message_id)
            else:
                _log.warning("the queue refused a message", extra={"fields": {"code": outcome.code}})
                waiting.outcome.set_exception(
                    Unavailable("The queue did not take the message; try again.", retry_after_seconds=2)
                )
