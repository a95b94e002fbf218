"""The worker: takes messages from the queue and leaves one object each in the bucket.

    poll ──> work, one thread a message ──> create the object ──> delete the message, ten at a time
                                       └──> hand it back, to be tried again later

One thread polls; further ones join it while polls come back full, and leave when one comes back empty.

A message is deleted only after its object is stored, so a worker that dies loses nothing; what it makes depends on the
message alone, so a message that is delivered twice makes one object. No message is taken that can't be worked on at
once: one that waited here would be hidden from workers that have room.

While the bucket takes nothing, or the queue no delete or renewal, no message is received for it to come to nothing once
more: one is, when none is in work, and what can't be stored is tried again with a single message (`probe`).

Stopped, it polls no more, finishes and deletes what is under way, and hands back what the last poll still brings. Calls
may hang for longer than there is time: what is left then is handed back as well.
"""

from __future__ import annotations

import logging
import queue
import random
import sys
import threading
import time

from service.aws.bucket import Bucket, StoreFailed
from service.aws.queues import BATCH_ENTRIES, Inbox, Message, QueueAway
from service.telemetry.metrics import Metrics
from service.worker import keys
from service.worker.backoff import LONGEST_PAUSE_SECONDS, Backoff
from service.worker.capacity import Capacity
from service.worker.deletes import Deleter
from service.worker.heartbeat import SILENCE_SECONDS, Heartbeat
from service.worker.joining import join
from service.worker.keys import BadMessage
from service.worker.probe import Probe
from service.worker.visibility import VisibilityExtender

LONGEST_RETRY_SECONDS = 900
DELETING_THREADS = 4
# What the messages in work may take as Python's texts; their bytes and the answers that bring them come on top. So a
# task of 1 GiB works on 64 messages of 1 MiB at a time, and on as many small ones as WORKER_CONCURRENCY says.
MEMORY_BYTES = 64 * 1024 * 1024
# How long a poll waits until there is room for ten.
REST_SECONDS = 0.02
# How long it waits to see whether what must end before it has ended.
LOOK_AGAIN_SECONDS = 0.05
# Of the time for a stop, what handing back takes; a call takes some 20 ms.
HAND_BACK_SECONDS = 5.0

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
        stop_seconds: float = 60.0,
        queue_backoff: Backoff | None = None,
        bucket_backoff: Backoff | None = None,
        deletes_backoff: Backoff | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """``run`` returns ``stop_seconds`` after ``stop`` at the latest."""
        self._inbox = inbox
        self._bucket = bucket
        self._prefix = prefix
        self._metrics = metrics or Metrics("worker")
        self._stopping = threading.Event()
        self._capacity = Capacity(concurrency, memory_bytes)
        # A queue and threads, since a pool's futures, which nobody would look at, cost a tenth of a message.
        self._begun: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        # Daemons, like all others here: one that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work_off, name=f"work-{number}", daemon=True) for number in range(concurrency)
        ]
        self._poll_heartbeats = [Heartbeat(SILENCE_SECONDS) for _ in range(polls_at_once(concurrency))]
        self._pollers = [
            threading.Thread(
                target=self._help if number else self._poll, args=(heartbeat,), name=f"poll-{number}", daemon=True
            )
            for number, heartbeat in enumerate(self._poll_heartbeats)
        ]
        # Who isn't waiting for it needs no call for help: calls that were kept would make idle workers poll for hours.
        self._help_wanted = threading.Condition()
        # The queue's pause ends with its next answer, even an empty one; the bucket's only with an object stored.
        self._queue_backoff = queue_backoff or Backoff(LONGEST_PAUSE_SECONDS)
        self._bucket_backoff = bucket_backoff or Backoff(LONGEST_PAUSE_SECONDS)
        deletes_backoff = deletes_backoff or Backoff(LONGEST_PAUSE_SECONDS)
        renewals_backoff = Backoff(LONGEST_PAUSE_SECONDS)
        # While any of these fails, what is received is likely to come back.
        self._backoffs = (self._bucket_backoff, deletes_backoff, renewals_backoff)
        self._extender = VisibilityExtender(inbox, visibility_seconds, backoff=renewals_backoff)
        self._deleter = Deleter(
            inbox, self._extender.release, threads=DELETING_THREADS, backoff=deletes_backoff, metrics=self._metrics
        )
        self._probe = Probe(self._bucket_backoff, self._extender, self._stopping)
        self._stop_seconds = stop_seconds

    @property
    def in_work(self) -> int:
        """How many messages have been received and not been deleted or handed back yet."""
        return len(self._extender)

    @property
    def heartbeats(self) -> list[Heartbeat]:
        """Of the threads without which messages are lost sight of: those that poll, renew and delete."""
        return [*self._poll_heartbeats, self._extender.heartbeat, *self._deleter.heartbeats]

    def stop(self) -> None:
        """Makes ``run`` return soon. May be called from any thread and more than once; not from a signal handler."""
        self._stopping.set()
        with self._help_wanted:
            self._help_wanted.notify_all()

    def run(self) -> bool:
        """Works until ``stop``, and then until all that was taken is dealt with.

        Returns False if that would take longer than there is time: what hangs is left behind, in threads, and what it
        hangs with is handed back.
        """
        self._extender.start()
        self._deleter.start()
        for thread in [*self._threads, *self._pollers]:
            thread.start()
        self._stopping.wait()
        until = time.monotonic() + self._stop_seconds
        drain_until = until - min(HAND_BACK_SECONDS, self._stop_seconds / 4)
        ended = join(self._pollers, drain_until - time.monotonic())
        for _ in self._threads:
            self._begun.put(None)
        ended &= join(self._threads, drain_until - time.monotonic())
        ended &= self._deleter.close(drain_until - time.monotonic())
        left = self._extender.release_all()
        ended &= self._extender.close(until - time.monotonic() if ended else 0.0)
        if left:
            self._hand_back(left, until)
        return ended

    def _hand_back(self, messages: list[Message], until: float) -> None:
        """Makes messages that are in work visible to others, as many of them as can be ``until`` then.

        Nothing is lost or doubled by one that is stored all the same: the other makes the same object.
        """
        _log.warning("there is no time left to finish what is in work", extra={"fields": {"messages": len(messages)}})
        # A thread a call: the first may hang as well.
        threads = [
            threading.Thread(target=self._hide, args=(messages[begin : begin + BATCH_ENTRIES], 0), daemon=True)
            for begin in range(0, len(messages), BATCH_ENTRIES)
        ]
        for thread in threads:
            thread.start()
        join(threads, until - time.monotonic())

    def _poll(self, heartbeat: Heartbeat) -> None:
        """Polls for ever."""
        while not self._stopping.is_set():
            self._turn(heartbeat, helping=False)

    def _help(self, heartbeat: Heartbeat) -> None:
        """Polls while there is more in the queue than the others bring."""
        while not self._stopping.is_set():
            heartbeat.rest()
            with self._help_wanted:
                if not self._stopping.is_set():
                    self._help_wanted.wait()
            while not self._stopping.is_set() and self._turn(heartbeat, helping=True):
                pass

    def _turn(self, heartbeat: Heartbeat, *, helping: bool) -> int:
        """One poll at most. Returns how many messages it brought."""
        heartbeat.beat()
        pause = max(self._queue_backoff.seconds, *[backoff.seconds for backoff in self._backoffs])
        if pause and self._stopping.wait(pause):
            return 0
        # Then each delivery only brings a message closer to the dead-letter queue, and one shows as much as ten.
        failing = any(backoff.failing for backoff in self._backoffs)
        if failing and helping:
            return 0
        # What is stored and can't be deleted takes memory as well.
        if self.in_work >= (1 if failing else 2 * self._capacity.limit + DELETING_THREADS * BATCH_ENTRIES):
            self._stopping.wait(LOOK_AGAIN_SECONDS)
            return 0
        free = self._capacity.take(1 if failing else BATCH_ENTRIES, first_seconds=1.0, rest_seconds=REST_SECONDS)
        taken = 0
        try:
            if free == 0 or self._stopping.is_set():
                return 0
            heartbeat.beat()
            messages = self._inbox.receive(free)
            self._queue_backoff.worked()
            if not messages:
                return 0
            self._metrics.add("Received", len(messages))
            self._capacity.note_size(max(sys.getsizeof(message.body) for message in messages))
            if self._stopping.is_set():
                self._hide(messages, 0)
                return 0
            if 2 * len(messages) > free:
                with self._help_wanted:
                    self._help_wanted.notify()
            for message in messages:
                self._extender.hold(message)
                self._begun.put(message)
                taken += 1
        except QueueAway as error:
            self._queue_backoff.failed()
            _log.error("the queue is away", extra={"fields": {"reason": str(error)}})
        finally:
            if taken < free:
                self._capacity.give(free - taken)
        return taken

    def _work_off(self) -> None:
        while (message := self._begun.get()) is not None:
            try:
                while not self._work(message):
                    pass
            finally:
                self._probe.end(message)
                self._capacity.give()

    def _work(self, message: Message) -> bool:
        """Returns whether it is dealt with; if not, it is to be tried again at once."""
        try:
            began = time.perf_counter()
            key = keys.object_key(self._prefix, message)
            content = keys.content(message)
            stored = self._bucket.put(key, content)
            self._bucket_backoff.worked()
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
            self._bucket_backoff.failed()
            if self._probe.keep(message):
                self._metrics.add("Failures")
                fields = {"message_id": message.message_id, "reason": str(error)}
                _log.error("the bucket is away, a message is tried again", extra={"fields": fields})
                return False
            self._give_back(message, str(error), _retry_seconds(message.receive_count))
        except Exception:
            _log.exception("a message failed", extra={"fields": {"message_id": message.message_id}})
            self._give_back(message, "unexpected", _retry_seconds(message.receive_count))
        return True

    def _give_back(self, message: Message, reason: str, seconds: int) -> None:
        self._extender.release(message)
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


def polls_at_once(concurrency: int) -> int:
    """How many polls, of ten messages each, there are at most at a time.

    A poll takes less time than its messages' puts, so a few keep many messages in work; each may bring 10 MiB.
    """
    return max(1, min(8, concurrency // BATCH_ENTRIES))


def _retry_seconds(receive_count: int) -> int:
    """Half a minute, doubling with each delivery, and never the same for all."""
    longest = min(LONGEST_RETRY_SECONDS, 30 << min(receive_count - 1, 5))
    return max(1, round(longest * random.uniform(0.5, 1.0)))
