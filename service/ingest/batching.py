"""Sends messages that arrive within a few milliseconds together, and tells each caller about its own.

A call to SQS costs the same for one message as for ten, in money and in processor time. So while calls are under way
messages wait a little for company, until ten are together; while there are none, nothing is won by waiting, and a message
goes out at once. Memory is bounded: a message that finds the buffer full is refused at once, which is better than being
accepted and kept waiting.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter, deque

from service.aws.queues import BATCH_BYTES, BATCH_ENTRIES, Accepted, Outbox, Outgoing, QueueAway, Refused
from service.http.errors import Invalid, Problem, TooLarge, Unavailable
from service.telemetry.metrics import Metrics
from service.thread_pool import ThreadPool

_log = logging.getLogger("service.sender")


class _Waiting:
    __slots__ = ("held", "message", "outcome", "since", "size")

    def __init__(self, message: Outgoing, size: int, held: int, outcome: asyncio.Future[str], since: float) -> None:
        self.message = message
        self.size = size
        self.held = held
        self.outcome = outcome
        self.since = since


class Batcher:
    """Coalesces messages into batches. For one event loop."""

    def __init__(
        self,
        outbox: Outbox,
        threads: ThreadPool,
        *,
        linger_seconds: float = 0.005,
        calls: int = 8,
        room_messages: int = 2000,
        room_bytes: int = 32 * 1024 * 1024,
        metrics: Metrics | None = None,
    ) -> None:
        """``calls`` batches are under way at most, and at most as many as ``threads`` has threads; the rest waits."""
        self._outbox = outbox
        self._threads = threads
        self._linger_seconds = linger_seconds
        self._calls = min(calls, threads.size)
        self._room_messages = room_messages
        self._room_bytes = room_bytes
        self._metrics = metrics or Metrics("api")
        self._waiting: deque[_Waiting] = deque()
        self._buffered_messages = 0
        self._buffered_bytes = 0
        self._under_way = 0
        self._timer: asyncio.Handle | None = None

    async def send(self, message: Outgoing, size: int | None = None) -> str:
        """Returns the message's id once the queue has said yes to it; ``size`` saves counting ``message.size`` again.

        Raises Unavailable: the client may try again, and the message may be in the queue all the same if that is where
        the answer was lost. Raises Invalid or TooLarge for a message that the queue will never take.
        """
        size = message.size if size is None else size
        # A text with one character beyond ASCII takes up to four times its UTF-8 in memory.
        held = size if message.body.isascii() else sys.getsizeof(message.body)
        if self._buffered_messages >= self._room_messages or self._buffered_bytes + held > self._room_bytes:
            self._metrics.add("MessagesRefused")
            raise Unavailable("Too many messages are waiting for the queue; try again.", retry_after_seconds=2)
        self._buffered_messages += 1
        self._buffered_bytes += held
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str] = loop.create_future()
        self._waiting.append(_Waiting(message, size, held, outcome, loop.time()))
        if len(self._waiting) >= BATCH_ENTRIES and self._under_way < self._calls:
            self._dispatch()
        elif self._timer is None:
            self._set_timer()
        return await outcome

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._under_way:
            # After whatever else has arrived in this turn of the loop.
            self._timer = loop.call_soon(self._dispatch, True)
        elif self._under_way < self._calls:
            self._timer = loop.call_at(self._waiting[0].since + self._linger_seconds, self._dispatch, True)

    def _dispatch(self, partly: bool = False) -> None:
        """Sends what makes full batches and, if ``partly``, one that is not full."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._under_way < self._calls and (len(self._waiting) >= BATCH_ENTRIES or (partly and self._waiting)):
            partly = partly and len(self._waiting) >= BATCH_ENTRIES
            self._start(self._take())
        if self._waiting:
            self._set_timer()

    def _start(self, batch: list[_Waiting]) -> None:
        self._under_way += 1
        self._metrics.observe("BatchFill", len(batch))
        began = time.perf_counter()

        def finished(call: asyncio.Future[list[Accepted | Refused]]) -> None:
            self._under_way -= 1
            try:
                self._tell(batch, _outcomes(batch, call))
            finally:
                # Whatever goes wrong with one batch, the next ones go out.
                self._dispatch()
            self._metrics.observe("QueueLatency", (time.perf_counter() - began) * 1000)

        try:
            call = self._threads.start(self._outbox.send, [waiting.message for waiting in batch])
        except Exception as error:
            call = asyncio.get_running_loop().create_future()
            call.set_exception(error)
        call.add_done_callback(finished)

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        room = BATCH_BYTES - batch[0].size
        while self._waiting and len(batch) < BATCH_ENTRIES and self._waiting[0].size <= room:
            room -= self._waiting[0].size
            batch.append(self._waiting.popleft())
        return batch

    def _tell(self, batch: list[_Waiting], outcomes: list[Accepted | Refused]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._buffered_messages -= 1
            self._buffered_bytes -= waiting.held
            if waiting.outcome.done():
                continue  # the caller has gone
            if isinstance(outcome, Accepted):
                waiting.outcome.set_result(outcome.message_id)
            else:
                waiting.outcome.set_exception(_problem(outcome))
        codes = Counter(outcome.code for outcome in outcomes if isinstance(outcome, Refused))
        if codes:
            self._metrics.add("MessagesRefused", codes.total())
            _log.warning("the queue refused messages", extra={"fields": {"codes": dict(codes)}})


def _outcomes(batch: list[_Waiting], call: asyncio.Future[list[Accepted | Refused]]) -> list[Accepted | Refused]:
    try:
        return call.result()
    except QueueAway as error:
        return [Refused(str(error), "the queue could not be reached")] * len(batch)
    except Exception as error:
        _log.error("a batch could not be sent", exc_info=error)
        return [Refused(type(error).__name__, "the batch failed")] * len(batch)


def _problem(refused: Refused) -> Problem:
    if not refused.sender_fault:
        return Unavailable("The queue did not take the message; try again.", retry_after_seconds=2)
    if refused.code == "InvalidMessageContents":
        return Invalid("data", "holds characters that the queue does not take")
    # What else there is to say of a body that was checked before it was sent: the queue's own limit is lower.
    return TooLarge("The queue does not take a message of this size.")
