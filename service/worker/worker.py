"""The worker: takes messages from the queue and leaves one object each in the bucket.

    poll ──> work, one thread a message ──> create the object ──> delete the message, ten at a time
                                       └──> hand it back, to be tried again later

One thread polls; further ones join it while polls come back full, and leave when one comes back empty.

A message is deleted only after its object is stored, so a worker that dies loses nothing; what it makes depends on the
message alone, so a message that is delivered twice makes one object. No message is taken that can't be worked on at
once: one that waited here would be hidden from workers that have room.

On SIGTERM polling stops, what is under way is finished and deleted, what the last poll still brings is handed back.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import random
import signal
import sys
import threading
import time
from types import FrameType

from service.aws.bucket import Bucket, S3Bucket, StoreFailed
from service.aws.clients import Clients
from service.aws.queues import BATCH_ENTRIES, Inbox, Message, QueueAway, SqsInbox
from service.settings import WorkerSettings
from service.telemetry import logs
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import trace_calls
from service.worker import keys
from service.worker.backoff import Backoff
from service.worker.capacity import Capacity
from service.worker.deletes import Deleter
from service.worker.heartbeat import SILENCE_SECONDS, Heartbeat, LivenessServer
from service.worker.keys import BadMessage
from service.worker.protection import Protection, Protector
from service.worker.visibility import VisibilityExtender

LONGEST_PAUSE_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 900
DELETING_THREADS = 4
# What the messages in work may take as Python's texts; their bytes and the answers that bring them come on top. So a
# task of 1 GiB works on 64 messages of 1 MiB at a time, and on as many small ones as WORKER_CONCURRENCY says.
MEMORY_BYTES = 64 * 1024 * 1024
# How long a poll waits until there is room for ten.
REST_SECONDS = 0.02

_log = logging.getLogger("service.worker")


class Worker:
    """Works on up to ``concurrency`` messages at the same time, until ``stop``."""

    def __init__(
        self,
        inbox: Inbox,
        bucket: Bucket,
        *,
        prefix: str = "emails/",
        concurrency: int = 128,
        visibility_seconds: int = 60,
        memory_bytes: int = MEMORY_BYTES,
        queue_pause: Backoff | None = None,
        bucket_pause: Backoff | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._inbox = inbox
        self._bucket = bucket
        self._prefix = prefix
        self._metrics = metrics or Metrics("worker")
        self._stopping = threading.Event()
        self._room = Capacity(concurrency, memory_bytes)
        # A queue and threads, since a pool's futures, which nobody would look at, cost a tenth of a message.
        self._begun: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work_off, name=f"work-{n}") for n in range(concurrency)]
        self._poll_pulses = [Heartbeat(SILENCE_SECONDS) for _ in range(polls_at_once(concurrency))]
        self._pollers = [
            threading.Thread(target=self._help if number else self._poll, args=(pulse,), name=f"poll-{number}")
            for number, pulse in enumerate(self._poll_pulses)
        ]
        self._helpers_wanted = threading.Semaphore(0)
        self._holder = VisibilityExtender(inbox, visibility_seconds)
        self._deleter = Deleter(inbox, self._holder.release, threads=DELETING_THREADS, metrics=self._metrics)
        # The queue's pause ends with its next answer, even an empty one; the bucket's only with an object stored.
        self._queue_pause = queue_pause or Backoff(LONGEST_PAUSE_SECONDS)
        self._bucket_pause = bucket_pause or Backoff(LONGEST_PAUSE_SECONDS)

    @property
    def in_work(self) -> int:
        """How many messages have been received and not been deleted or handed back yet."""
        return len(self._holder)

    @property
    def pulses(self) -> list[Heartbeat]:
        """Of the threads without which messages are lost sight of: those that poll, renew and delete."""
        return [*self._poll_pulses, self._holder.pulse, *self._deleter.pulses]

    def stop(self) -> None:
        """Makes ``run`` return soon. May be called from any thread and more than once; not from a signal handler."""
        self._stopping.set()
        for _ in self._pollers:
            self._helpers_wanted.release()

    def run(self) -> None:
        """Works until ``stop``; returns when all that was taken is dealt with."""
        self._holder.start()
        self._deleter.start()
        for thread in [*self._threads, *self._pollers]:
            thread.start()
        for poller in self._pollers:
            poller.join()
        for _ in self._threads:
            self._begun.put(None)
        for thread in self._threads:
            thread.join()
        self._deleter.close()
        self._holder.close()

    def _poll(self, pulse: Heartbeat) -> None:
        """Polls for ever."""
        while not self._stopping.is_set():
            self._turn(pulse)

    def _help(self, pulse: Heartbeat) -> None:
        """Polls while there is more in the queue than the others bring."""
        while not self._stopping.is_set():
            pulse.rest()
            self._helpers_wanted.acquire()
            while not self._stopping.is_set() and self._turn(pulse):
                pass

    def _turn(self, pulse: Heartbeat) -> int:
        """One poll at most. Returns how many messages it brought."""
        pulse.beat()
        # While the bucket is away, each delivery only brings a message closer to the dead-letter queue.
        pause = max(self._queue_pause.seconds, self._bucket_pause.seconds)
        if pause and self._stopping.wait(pause):
            return 0
        room = self._room.take(BATCH_ENTRIES, first_seconds=1.0, rest_seconds=REST_SECONDS)
        taken = 0
        try:
            if room == 0 or self._stopping.is_set():
                return 0
            pulse.beat()
            messages = self._inbox.receive(room)
            self._queue_pause.worked()
            if not messages:
                return 0
            self._metrics.add("Received", len(messages))
            self._room.note_size(max(sys.getsizeof(message.body) for message in messages))
            if self._stopping.is_set():
                self._hide(messages, 0)
                return 0
            if 2 * len(messages) > room:
                self._helpers_wanted.release()
            for message in messages:
                self._holder.hold(message)
                self._begun.put(message)
                taken += 1
        except QueueAway as error:
            self._queue_pause.failed()
            _log.error("the queue is away", extra={"fields": {"reason": str(error)}})
        finally:
            if taken < room:
                self._room.give(room - taken)
        return taken

    def _work_off(self) -> None:
        while (message := self._begun.get()) is not None:
            self._work(message)

    def _work(self, message: Message) -> None:
        try:
            began = time.perf_counter()
            key = keys.object_key(self._prefix, message)
            content = keys.content(message)
            stored = self._bucket.put(key, content)
            self._bucket_pause.worked()
            put_ms = (time.perf_counter() - began) * 1000
            lag_ms = time.time() * 1000 - message.sent_at_milliseconds
            self._deleter.add(message)
            self._metrics.add("Stored" if stored else "Duplicates")
            self._metrics.observe("PutLatency", put_ms)
            self._metrics.observe("WorkerLag", lag_ms)
            fields = {
                "message_id": message.message_id,
                "key": key,
                "bytes": len(content),
                "receive_count": message.receive_count,
                "lag_ms": round(lag_ms),
                "ms": round(put_ms, 2),
            }
            _log.info("stored" if stored else "was stored already", extra={"fields": fields})
        except BadMessage as error:
            self._give_back(message, str(error), min(60, message.receive_count))
        except StoreFailed as error:
            self._bucket_pause.failed()
            self._give_back(message, str(error), _retry_seconds(message.receive_count))
        except Exception:
            _log.exception("a message failed", extra={"fields": {"message_id": message.message_id}})
            self._give_back(message, "unexpected", _retry_seconds(message.receive_count))
        finally:
            self._room.give()

    def _give_back(self, message: Message, reason: str, seconds: int) -> None:
        self._holder.release(message)
        self._metrics.add("Failures")
        fields = {
            "message_id": message.message_id,
            "reason": reason,
            "receive_count": message.receive_count,
            "again_seconds": seconds,
        }
        _log.error("a message was not stored", extra={"fields": fields})
        self._hide([message], seconds)

    def _hide(self, messages: list[Message], seconds: int) -> None:
        try:
            failures = self._inbox.hide(messages, seconds)
        except QueueAway as error:
            # They come back by themselves when their visibility timeout ends.
            _log.warning("messages could not be handed back", extra={"fields": {"reason": str(error)}})
            return
        for failure in failures:
            fields = {"message_id": failure.message.message_id, "reason": failure.code}
            _log.warning("a message could not be handed back", extra={"fields": fields})


def run_worker(settings: WorkerSettings) -> int:
    """Works until SIGTERM. Returns the exit code: 0 after a clean stop."""
    lines = logs.configure(settings.log_level)
    metrics = Metrics("worker", namespace=settings.metrics_namespace)
    trace_calls(os.environ, "worker")
    clients = Clients(settings.region)
    polls = polls_at_once(settings.concurrency)
    inbox = SqsInbox(
        clients.client("sqs", connections=polls, read_timeout_seconds=settings.wait_seconds + 10, attempts=2),
        clients.client("sqs", connections=DELETING_THREADS + 8),
        settings.inbox_queue_url,
        wait_seconds=settings.wait_seconds,
        visibility_seconds=settings.visibility_timeout_seconds,
    )
    worker = Worker(
        inbox,
        S3Bucket(clients, settings.emails_bucket),
        prefix=settings.emails_prefix,
        concurrency=settings.concurrency,
        visibility_seconds=settings.visibility_timeout_seconds,
        metrics=metrics,
    )
    protector = Protector(settings.agent_url, Protection(), lambda: worker.in_work) if settings.agent_url else None
    _stop_on_signals(worker)
    liveness = LivenessServer(settings.port, *worker.pulses)
    liveness.start()
    if protector:
        protector.start()
    # What is loaded now stays; without this, every full collection walks the whole AWS SDK.
    gc.collect()
    gc.freeze()
    _log.info("starting", extra={"fields": {"concurrency": settings.concurrency, "port": settings.port}})
    reporter = logs.MetricsReporter(metrics, lines, settings.metrics_seconds)
    worker.run()
    reporter.close()
    if protector:
        protector.close()
    liveness.close()
    _log.info("stopped")
    return 0


def polls_at_once(concurrency: int) -> int:
    """How many polls, of ten messages each, there are at most at a time.

    A poll takes less time than its messages' puts, so a few keep many messages in work; each may bring 10 MiB.
    """
    return max(1, min(8, concurrency // BATCH_ENTRIES))


def _stop_on_signals(worker: Worker) -> None:
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # A handler runs between any two steps of the main thread, which may hold the very lock that stop() takes;
        # this call is one that Python lets a handler make.
        signals.put(number)

    def wait() -> None:
        while True:
            signals.get()
            worker.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    threading.Thread(target=wait, name="signals", daemon=True).start()


def _retry_seconds(receive_count: int) -> int:
    """Half a minute, doubling with each delivery, and never the same for all."""
    longest = min(LONGEST_RETRY_SECONDS, 30 << min(receive_count - 1, 5))
    return max(1, round(longest * random.uniform(0.5, 1.0)))
