"""The one message that finds out whether the bucket is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.aws.queues import Message
from service.worker.backoff import Backoff
from service.worker.visibility import LONGEST_HOLD_SECONDS, VisibilityExtender


class Probe:
    """Keeps the first message that can't be stored, for it to be tried again, in place of receiving one after the other.

    Whatever is received has spent one of its deliveries, and there is no way to give that back: at the queue's
    ``maxReceiveCount`` the message is in the dead-letter queue, however good it is. Holding it spends none, for up to 12
    hours from its receipt:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
    """

    def __init__(
        self,
        backoff: Backoff,
        extender: VisibilityExtender,
        stopping: threading.Event,
        *,
        longest_seconds: float = LONGEST_HOLD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A message is kept for ``longest_seconds``, and twice as long with each delivery: another worker may be able to
        store it, but if none is, few deliveries have to last for long."""
        self._backoff = backoff
        self._extender = extender
        self._stopping = stopping
        self._longest_seconds = longest_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._message: Message | None = None
        self._since = 0.0

    def keep(self, message: Message) -> bool:
        """Waits until the pause of ``backoff`` is over. Returns whether ``message`` is to be tried again.

        If not, another message is kept already, or this one was for long enough, or the worker stops.
        """
        with self._lock:
            if self._message is None:
                self._message, self._since = message, self._clock()
            if self._message is not message:
                return False
        longest_seconds = self._longest_seconds * 2 ** min(message.receive_count - 1, 5)
        if (
            self._clock() - self._since < longest_seconds
            and not self._stopping.wait(self._backoff.seconds)
            and self._extender.restart(message)
        ):
            return True
        self.end(message)
        return False

    def end(self, message: Message) -> None:
        """Makes room for another one if it is ``message`` that is kept."""
        with self._lock:
            if self._message is message:
                self._message = None
