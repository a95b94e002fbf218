"""The worker: takes messages from the queue and leaves one object each in the bucket.

    poll ──> work, one thread a message ──> put the object ──> delete the message, ten at a time
                                       └──> hand it back, to be tried again later

A message is deleted only after its object is stored, so a worker that dies loses nothing; what it makes depends on the
message alone, so a message that is delivered twice makes one object. No message is taken that can't be worked on at
once: one that waited here would be hidden from workers that have room.

On SIGTERM polling stops, what is under way is finished and deleted, what the last poll still brings is handed back.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Protocol

from service import emails, logs
from service.aws import AwsError, Clients, error_code
from service.deletes import Deleter
from service.emails import BadMessage
from service.liveness import LivenessServer, Pulse
from service.queues import BATCH_ENTRIES, Inbox, Incoming, QueueAway, SqsInbox
from service.settings import WorkerSettings
from service.visibility import Holder

# The poll loop goes round at least once a long poll; its calls are bounded, so more silence than this means it hangs.
SILENCE_SECONDS = 90.0
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 900

_log = logging.getLogger("service.worker")


class StoreFailed(Exception):
    """The object could not be stored this time."""


class Bucket(Protocol):
    """Where objects go."""

    def put(self, key: str, content: bytes) -> None:
        """Stores ``content`` under ``key``, replacing what was there. Blocks. Raises StoreFailed."""
        ...


class S3Bucket:
    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, key: str, content: bytes) -> None:
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=content, ContentType="application/json")
        except AwsError as error:
            raise StoreFailed(error_code(error)) from error


class Worker:
    """Works on up to ``concurrency`` messages at the same time, until ``stop``."""

    def __init__(
        self,
        inbox: Inbox,
        bucket: Bucket,
        *,
        prefix: str = "emails/",
        concurrency: int = 16,
        visibility_seconds: int = 60,
        pulse: Pulse | None = None,
    ) -> None:
        self._inbox = inbox
        self._bucket = bucket
        self._prefix = prefix
        self._pulse = pulse or Pulse(SILENCE_SECONDS)
        self._stopping = threading.Event()
        self._room = threading.Semaphore(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="work")
        self._holder = Holder(inbox, visibility_seconds)
        self._deleter = Deleter(inbox, self._holder.release)
        # Failures in a row of each side; plain numbers, since being off by one under a race only changes a pause a
        # little. The queue's end with its next answer, even an empty one; the bucket's only with an object stored.
        self._queue_failures = 0
        self._store_failures = 0

    def stop(self) -> None:
        """Makes ``run`` return soon. May be called from a signal handler and more than once."""
        self._stopping.set()

    def run(self) -> None:
        """Works until ``stop``; returns when all that was taken is dealt with."""
        self._holder.start()
        self._deleter.start()
        try:
            while not self._stopping.is_set():
                self._pulse.beat()
                self._turn()
        finally:
            self._threads.shutdown()
            self._deleter.close()
            self._holder.close()

    def _turn(self) -> None:
        pause = self._pause_seconds()
        if pause and self._stopping.wait(pause):
            return
        room = self._take_room()
        taken = 0
        try:
            if room == 0:
                return
            messages = self._inbox.receive(room)
            self._queue_failures = 0
            if self._stopping.is_set():
                self._hide(messages, 0)
                return
            for message in messages:
                self._holder.hold(message)
                self._threads.submit(self._work, message)
                taken += 1
        except QueueAway as error:
            self._queue_failures += 1
            _log.error("the queue is away", extra={"fields": {"reason": str(error)}})
        finally:
            for _ in range(room - taken):
                self._room.release()

    def _take_room(self) -> int:
        """Room for as many messages as can begin at once, at most a batch; waits a second for the first."""
        if not self._room.acquire(timeout=1.0):
            return 0
        room = 1
        while room < BATCH_ENTRIES and self._room.acquire(blocking=False):
            room += 1
        return room

    def _pause_seconds(self) -> float:
        # While the bucket is away, each delivery only brings a message closer to the dead-letter queue.
        failures = max(self._queue_failures, self._store_failures)
        if not failures:
            return 0
        return min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)

    def _work(self, message: Incoming) -> None:
        try:
            began = time.perf_counter()
            key = emails.object_key(self._prefix, message)
            content = emails.content(message)
            self._bucket.put(key, content)
            self._store_failures = 0
            self._deleter.add(message)
            fields = {
                "message_id": message.message_id,
                "key": key,
                "bytes": len(content),
                "receive_count": message.receive_count,
                "lag_ms": round(time.time() * 1000 - message.sent_at_milliseconds),
                "ms": round((time.perf_counter() - began) * 1000, 2),
            }
            _log.info("stored", extra={"fields": fields})
        except BadMessage as error:
            self._give_back(message, str(error), min(60, message.receive_count))
        except StoreFailed as error:
            self._store_failures += 1
            self._give_back(message, str(error), _retry_seconds(message.receive_count))
        except Exception:
            _log.exception("a message failed", extra={"fields": {"message_id": message.message_id}})
            self._give_back(message, "unexpected", _retry_seconds(message.receive_count))
        finally:
            self._room.release()

    def _give_back(self, message: Incoming, reason: str, seconds: int) -> None:
        self._holder.release(message)
        fields = {
            "message_id": message.message_id,
            "reason": reason,
            "receive_count": message.receive_count,
            "again_seconds": seconds,
        }
        _log.error("a message was not stored", extra={"fields": fields})
        self._hide([message], seconds)

    def _hide(self, messages: list[Incoming], seconds: int) -> None:
        if not messages:
            return
        try:
            self._inbox.hide(messages, seconds)
        except QueueAway as error:
            # They come back by themselves when their visibility timeout ends.
            _log.warning("messages could not be handed back", extra={"fields": {"reason": str(error)}})


def run_worker(settings: WorkerSettings) -> int:
    """Works until SIGTERM. Returns the exit code: 0 after a clean stop."""
    logs.configure(settings.log_level)
    clients = Clients(settings.region)
    inbox = SqsInbox(
        clients.client("sqs", connections=1, read_timeout_seconds=settings.wait_seconds + 10, attempts=2),
        clients.client("sqs", connections=settings.concurrency + 2),
        settings.inbox_queue_url,
        wait_seconds=settings.wait_seconds,
        visibility_seconds=settings.visibility_timeout_seconds,
    )
    bucket = S3Bucket(clients.client("s3", connections=settings.concurrency), settings.emails_bucket)
    pulse = Pulse(SILENCE_SECONDS)
    worker = Worker(
        inbox,
        bucket,
        prefix=settings.emails_prefix,
        concurrency=settings.concurrency,
        visibility_seconds=settings.visibility_timeout_seconds,
        pulse=pulse,
    )

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    liveness = LivenessServer(settings.port, pulse)
    liveness.start()
    _log.info("starting", extra={"fields": {"concurrency": settings.concurrency, "port": settings.port}})
    worker.run()
    liveness.close()
    _log.info("stopped")
    return 0


def _retry_seconds(receive_count: int) -> int:
    """Half a minute, doubling with each delivery, and never the same for all."""
    longest = min(LONGEST_RETRY_SECONDS, 30 << min(receive_count - 1, 5))
    return max(1, round(longest * random.uniform(0.5, 1.0)))
