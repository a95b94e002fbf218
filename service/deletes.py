"""Deletes messages whose objects are stored, ten at a call: a call for each would cost ten times as much."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from service.queues import BATCH_ENTRIES, Inbox, Incoming, QueueAway

_log = logging.getLogger("service.deletes")


class Deleter:
    """A thread that deletes. A message that can't be deleted comes back and makes the same object again."""

    def __init__(
        self,
        inbox: Inbox,
        done: Callable[[Incoming], None],
        *,
        linger_seconds: float = 0.05,
        attempts: int = 4,
        pause_seconds: float = 0.2,
    ) -> None:
        """``done`` is called for every message once it is deleted or given up."""
        self._inbox = inbox
        self._done = done
        self._linger_seconds = linger_seconds
        self._attempts = attempts
        self._pause_seconds = pause_seconds
        self._waiting: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="deletes")

    def start(self) -> None:
        self._thread.start()

    def add(self, message: Incoming) -> None:
        self._waiting.put(message)

    def close(self) -> None:
        """Returns once every message added so far is dealt with."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            first = self._waiting.get()
            if first is None:
                return
            batch = [first]
            until = time.monotonic() + self._linger_seconds
            while len(batch) < BATCH_ENTRIES:
                try:
                    message = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if message is None:
                    open_ = False
                    break
                batch.append(message)
            self._delete(batch)

    def _delete(self, batch: list[Incoming]) -> None:
        left = batch
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._pause_seconds * 2 ** (attempt - 1))
            try:
                # The call as a whole succeeds even when deletes in it fail.
                left = self._inbox.delete(left)
            except QueueAway as error:
                _log.warning("messages could not be deleted", extra={"fields": {"reason": str(error)}})
            if not left:
                break
        if left:
            ids = [message.message_id for message in left]
            _log.error("messages stay in the queue and will be delivered again", extra={"fields": {"messages": ids}})
        for message in batch:
            self._done(message)
