"""Keeps messages hidden from other workers while this one works on them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.aws.queues import BATCH_ENTRIES, Failed, Inbox, Message, QueueAway
from service.worker.backoff import LONGEST_PAUSE_SECONDS, Backoff
from service.worker.heartbeat import SILENCE_SECONDS, Heartbeat
from service.worker.joining import join

# After so long something is stuck; letting go hands the message to another worker.
LONGEST_HOLD_SECONDS = 900.0

_log = logging.getLogger("service.visibility")


@dataclass(slots=True)
class _Held:
    message: Message
    since: float
    renewed: float


class VisibilityExtender:
    """Renews the visibility timeout of every held message when a third of it has passed."""

    def __init__(
        self,
        inbox: Inbox,
        visibility_seconds: int,
        *,
        longest_seconds: float = LONGEST_HOLD_SECONDS,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``heartbeat`` beats with every turn and every call; ``backoff`` is failing while there is what is not renewed."""
        self.heartbeat = Heartbeat(SILENCE_SECONDS, clock, name="the renewal of visibility timeouts")
        self._inbox = inbox
        self._visibility_seconds = visibility_seconds
        self._longest_seconds = longest_seconds
        self._backoff = backoff or Backoff(LONGEST_PAUSE_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="visibility", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Returns once nothing is renewed any more, or False after ``timeout_seconds`` if a renewal hangs."""
        self._closing.set()
        return join([self._thread], timeout_seconds)

    def hold(self, message: Message) -> None:
        now = self._clock()
        with self._lock:
            self._held[message.receipt] = _Held(message, now, now)

    def release(self, message: Message) -> None:
        with self._lock:
            self._held.pop(message.receipt, None)

    def release_all(self) -> list[Message]:
        """Releases what is held; returns it."""
        with self._lock:
            held, self._held = self._held, {}
        return [entry.message for entry in held.values()]

    def restart(self, message: Message) -> bool:
        """Begins to count anew for how long it is held. False if it is not: it may be another worker's by now."""
        with self._lock:
            held = self._held.get(message.receipt)
            if held is not None:
                held.since = self._clock()
        return held is not None

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    def renew(self) -> None:
        """Renews what is due."""
        now = self._clock()
        with self._lock:
            for held in [held for held in self._held.values() if now - held.since > self._longest_seconds]:
                del self._held[held.message.receipt]
                fields = {"message_id": held.message.message_id, "seconds": round(now - held.since)}
                _log.error("a message has been worked on for too long and is let go", extra={"fields": fields})
            due = [held for held in self._held.values() if now - held.renewed >= self._visibility_seconds / 3]
        away = False
        for begin in range(0, len(due), BATCH_ENTRIES):
            # A call may have taken long. What has been handed back since must not be hidden again.
            batch = [held for held in due[begin : begin + BATCH_ENTRIES] if held.message.receipt in self._held]
            if not batch:
                continue
            self.heartbeat.beat()
            try:
                failed = {
                    failure.message.receipt: failure
                    for failure in self._inbox.hide([held.message for held in batch], self._visibility_seconds)
                }
            except QueueAway as error:
                _log.warning("messages could not be kept hidden", extra={"fields": {"reason": str(error)}})
                away = True
                continue
            for held in batch:
                failure = failed.get(held.message.receipt)
                if failure is None:
                    held.renewed = now
                elif failure.sender_fault:
                    self._lose(failure)
                # One that failed otherwise is due again at the next turn.
        if away:
            self._backoff.failed()
        else:
            self._backoff.worked()

    def _lose(self, failure: Failed) -> None:
        """Ends the hold of a message that is this worker's no more, by its receipt."""
        with self._lock:
            held = self._held.pop(failure.message.receipt, None)
        # One that is not held any more was deleted just now, which is as it should be.
        if held is not None:
            fields = {"message_id": failure.message.message_id, "reason": failure.code}
            _log.warning("a message is another worker's by now", extra={"fields": fields})

    def _run(self) -> None:
        while not self._closing.wait(min(1.0, self._visibility_seconds / 6)):
            self.heartbeat.beat()
            self.renew()
