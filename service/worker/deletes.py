"""Deletes messages whose objects are stored, ten at a call: a call for each would cost ten times as much."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from service.aws.queues import BATCH_ENTRIES, Failed, Inbox, Message, QueueAway
from service.telemetry.metrics import Metrics
from service.worker.backoff import LONGEST_PAUSE_SECONDS, Backoff
from service.worker.heartbeat import SILENCE_SECONDS, Heartbeat
from service.worker.joining import join

_log = logging.getLogger("service.deletes")


class Deleter:
    """Threads that delete. A message that can't be deleted comes back and makes the same object again.

    While the queue takes no delete at all they go on trying, ever more slowly: what is given up comes back, and each time
    that it does brings it closer to the dead-letter queue.
    """

    def __init__(
        self,
        inbox: Inbox,
        done: Callable[[Message], None],
        *,
        threads: int = 4,
        linger_seconds: float = 0.05,
        attempts: int = 4,
        pause_seconds: float = 0.2,
        backoff: Backoff | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``done`` is called for every message once it is deleted or given up: after ``attempts`` that were answered, or
        were made once it is closing. ``backoff`` is failing while the queue takes no delete. Each thread has one of
        ``heartbeats``, which rests while there is nothing to delete."""
        self._inbox = inbox
        self._done = done
        self._linger_seconds = linger_seconds
        self._attempts = attempts
        self._pause_seconds = pause_seconds
        self._backoff = backoff or Backoff(LONGEST_PAUSE_SECONDS)
        self._metrics = metrics or Metrics("worker")
        self._waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._gathering = threading.Lock()
        self._ended = False
        self._closing = threading.Event()
        self.heartbeats = [Heartbeat(SILENCE_SECONDS, clock, name="the deletion of messages") for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(heartbeat,), name=f"deletes-{number}", daemon=True)
            for number, heartbeat in enumerate(self.heartbeats)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, message: Message) -> None:
        self._waiting.put(message)

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Returns once every message added so far is dealt with, or False after ``timeout_seconds``."""
        self._closing.set()
        self._waiting.put(None)
        return join(self._threads, timeout_seconds)

    def _run(self, heartbeat: Heartbeat) -> None:
        heartbeat.rest()
        while batch := self._gather():
            self._delete(batch, heartbeat)
            heartbeat.rest()

    def _gather(self) -> list[Message]:
        """The next batch; empty at the end."""
        batch: list[Message] = []
        # One thread gathers at a time: several would share what comes, and each make a call for little.
        with self._gathering:
            until = float("inf")
            while len(batch) < BATCH_ENTRIES and not self._ended:
                try:
                    message = self._waiting.get(timeout=max(0.0, until - time.monotonic()) if batch else None)
                except queue.Empty:
                    break
                if message is None:
                    self._ended = True
                    break
                if not batch:
                    until = time.monotonic() + self._linger_seconds
                batch.append(message)
        return batch

    def _delete(self, batch: list[Message], heartbeat: Heartbeat) -> None:
        left = batch
        attempts = 0
        while True:
            heartbeat.beat()
            try:
                # The call as a whole succeeds even when deletes in it fail.
                failures = self._inbox.delete(left)
            except QueueAway as error:
                self._backoff.failed()
                _log.warning("messages could not be deleted", extra={"fields": {"reason": str(error)}})
                if not self._closing.wait(self._backoff.seconds):
                    continue
            else:
                left = self._note(left, failures)
            attempts += 1
            if not left or attempts == self._attempts:
                break
            time.sleep(self._pause_seconds * 2 ** (attempts - 1))
        if left:
            ids = [message.message_id for message in left]
            _log.error("messages stay in the queue and will be delivered again", extra={"fields": {"messages": ids}})
        for message in batch:
            self._done(message)

    def _note(self, messages: list[Message], failures: list[Failed]) -> list[Message]:
        """Takes note of an answer; returns the messages to be tried again."""
        again = [failure.message for failure in failures if not failure.sender_fault]
        if len(again) < len(messages):
            self._backoff.worked()
        else:
            self._backoff.failed()
        self._metrics.add("Deleted", len(messages) - len(failures))
        for failure in failures:
            if failure.sender_fault:
                # Its lease was lost; whoever has it now finds the object there and deletes it.
                fields = {"message_id": failure.message.message_id, "reason": failure.code}
                _log.warning("a message is another worker's by now", extra={"fields": fields})
        return again
