"""The worker when it is killed, stopped, cut off or fed what it can't digest: one object a message, whatever happens."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.aws.bucket import StoreFailed
from service.aws.queues import Failed, Message, Outgoing, QueueAway
from service.worker.backoff import Backoff
from service.worker.worker import Worker
from tests.service.fake_aws import Cut, FakeAws, TurnableClock
from tests.service.harness import LIVENESS_SECONDS, started, wait_until
from tests.service.memory import MemoryBucket, MemoryQueue


def holding(operation: str, released: threading.Event) -> Callable[[str], None]:
    """Makes calls of ``operation`` wait until they are released, and then end without having been carried out."""

    def before(name: str) -> None:
        if name == operation and not released.is_set():
            released.wait(60)
            raise Cut

    return before


def wait_until_empty(aws: FakeAws) -> None:
    """Lets time pass on the queue's clock until there is nothing left, a hundred times as fast."""

    def is_empty() -> bool:
        aws.clock.turn(1)
        return len(aws.queue) == 0

    wait_until(is_empty)


def bodies(aws: FakeAws) -> list[str]:
    return sorted(content.decode() for content in aws.objects.values())


def test_killed_between_put_and_delete_it_leaves_one_object_a_message(tmp_path: Path) -> None:
    released = threading.Event()
    with FakeAws(before=holding("DeleteMessageBatch", released)).running() as aws:
        sent = aws.fill(50)
        with started("worker", aws.env, tmp_path / "first") as first:
            wait_until(lambda: len(aws.objects) == 50)
            first.stop(signal.SIGKILL)
        released.set()
        assert len(aws.queue) == 50, "none was deleted"
        with started("worker", aws.env, tmp_path / "second") as second:
            wait_until_empty(aws)
            assert second.stop() == 0
    assert bodies(aws) == sorted(sent)
    assert aws.puts == {200: 50, 412: 50}, "the second found them all there"
    assert [line["message"] for line in second.lines()].count("was stored already") == 50


def test_a_message_that_is_delivered_again_after_midnight_makes_the_same_object(tmp_path: Path) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sent_at = midnight - timedelta(milliseconds=1)
    released = threading.Event()
    before = holding("DeleteMessageBatch", released)
    with FakeAws(wall_clock=sent_at.timestamp, before=before).running() as aws:
        aws.fill(3)
        with started("worker", aws.env, tmp_path / "first") as first:
            wait_until(lambda: len(aws.objects) == 3)
            first.stop(signal.SIGKILL)
        released.set()
        with started("worker", aws.env, tmp_path / "second"):
            wait_until_empty(aws)
    assert len(aws.objects) == 3
    assert all(key.startswith(f"emails/{sent_at:%Y/%m/%d}/") for key in aws.objects)


def test_a_worker_that_lost_its_lease_makes_no_second_object_and_goes_on(tmp_path: Path) -> None:
    """The first worker is stopped in mid-put for longer than the visibility timeout; the second does its work meanwhile."""
    putting, released = threading.Event(), threading.Event()
    waited: list[str] = []

    def before(name: str) -> None:
        if name == "PutObject" and not waited:
            waited.append(name)
            putting.set()
            assert released.wait(60)

    with FakeAws(before=before).running() as aws:
        sent = aws.fill(1)
        with started("worker", aws.env, tmp_path / "first") as first:
            assert putting.wait(LIVENESS_SECONDS)
            first.popen.send_signal(signal.SIGSTOP)
            with started("worker", aws.env, tmp_path / "second") as second:
                wait_until_empty(aws)
                assert second.stop() == 0
            released.set()
            first.popen.send_signal(signal.SIGCONT)
            # It finds the object there, or finds that its put has taken too long, if the second has needed that long.
            ends = {"was stored already", "a message was not stored"}
            wait_until(lambda: any(line["message"] in ends for line in first.lines()))
            sent |= {'{"late":1}'}
            aws.queue.send([Outgoing('{"late":1}')])
            wait_until(lambda: len(aws.queue) == 0)
            assert first.stop() == 0
            assert [line["message"] for line in first.lines()].count("stored") == 1, "that is the late one"
    assert bodies(aws) == sorted(sent)


class Scaled:
    """A clock on which a minute takes a second."""

    def __call__(self) -> float:
        return time.monotonic() * 60


@contextlib.contextmanager
def working(queue: MemoryQueue, bucket: MemoryBucket, **options: Any) -> Iterator[Worker]:
    """A worker whose pauses pass sixty times as fast, like everything else on the queue's clock."""
    pauses = {
        name: Backoff(0.5, shortest_seconds=1 / 60) for name in ("queue_backoff", "bucket_backoff", "deletes_backoff")
    }
    worker = Worker(queue, bucket, **{**pauses, **options})
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(LIVENESS_SECONDS)
        assert not thread.is_alive()


def test_s3_refusing_for_a_minute_costs_no_message_its_life() -> None:
    refused: list[float] = []

    def fail(_: str) -> None:
        now = time.monotonic()
        if not refused or now < refused[0] + 1.0:  # a minute on the queue's clock
            refused.append(now)
            raise StoreFailed("SlowDown")

    queue = MemoryQueue(most_receives=5, clock=Scaled())
    bucket = MemoryBucket(fail=fail)
    for number in range(300):
        queue.send([Outgoing(f'{{"n":{number}}}')])
    with working(queue, bucket, concurrency=32):
        wait_until(lambda: len(queue) == 0)
    assert len(bucket.objects) == 300
    assert queue.dead == [], "no message was brought to the dead-letter queue by an outage of the bucket"


@pytest.mark.parametrize("messages", [1, 3, 40])
@pytest.mark.parametrize("fails", ["puts", "puts and visibility", "deletes"])
def test_an_outage_longer_than_all_deliveries_brings_no_good_message_to_the_dead_letter_queue(
    messages: int, fails: str
) -> None:
    """Messages are received all the while, as over connections that are kept when names can't be resolved any more."""
    clock = TurnableClock()
    tried, away = 0, True

    class HalfAway(MemoryQueue):
        def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
            if away and "visibility" in fails:
                raise QueueAway("EndpointConnectionError")
            return super().hide(messages, seconds)

        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            nonlocal tried
            if away and "deletes" in fails:
                tried += 1
                raise QueueAway("EndpointConnectionError")
            return super().delete(messages)

    def fail(_: str) -> None:
        nonlocal tried
        if away and "puts" in fails:
            tried += 1
            raise StoreFailed("error sending request")

    queue, bucket = HalfAway(visibility_seconds=10, most_receives=5, clock=clock), MemoryBucket(fail=fail)
    for number in range(messages):
        queue.send([Outgoing(f'{{"n":{number}}}')])
    pauses = {name: Backoff(0.02, shortest_seconds=0.01) for name in ("bucket_backoff", "deletes_backoff")}
    with working(queue, bucket, concurrency=20, visibility_seconds=10, **pauses):
        wait_until(lambda: tried >= 1)
        for _ in range(20):  # four times as long as five deliveries take
            before = tried
            wait_until(lambda seen=before: tried > seen)  # type: ignore[misc]
            clock.turn(10)
        away = False
        wait_until(lambda: clock.turn(1) or len(queue) == 0)  # type: ignore[func-returns-value]
    assert queue.dead == []
    assert len(bucket.objects) == messages


def test_a_poisoned_message_among_a_thousand_ends_in_the_dead_letter_queue_and_the_rest_is_done() -> None:
    queue, bucket = MemoryQueue(most_receives=3, clock=Scaled()), MemoryBucket()
    for number in range(500):
        queue.send([Outgoing(f'{{"n":{number}}}')])
    queue.send([Outgoing("not json")])
    for number in range(500, 1000):
        queue.send([Outgoing(f'{{"n":{number}}}')])
    with working(queue, bucket):
        wait_until(lambda: len(queue) == 0)
    assert [message.body for message in queue.dead] == ["not json"]
    assert sorted(bucket.objects.values()) == sorted(f'{{"n":{number}}}'.encode() for number in range(1000))
    assert len(bucket.puts) == 1000, "none was stored twice"


@pytest.mark.parametrize("messages", [300, pytest.param(3000, marks=pytest.mark.soak)])
def test_stopped_under_full_load_it_loses_and_delays_nothing_and_exits_with_0(tmp_path: Path, messages: int) -> None:
    def before(name: str) -> None:
        if name == "PutObject":
            time.sleep(0.02)

    with FakeAws(before=before).running() as aws:
        sent = aws.fill(messages)
        # As many at once as is their share of the messages.
        env = {**aws.env, "STOP_TIMEOUT_SECONDS": "60", "WORKER_CONCURRENCY": str(messages * 128 // 3000)}
        with started("worker", env, tmp_path / "first") as first:
            wait_until(lambda: len(aws.objects) > messages // 6)
            began = time.monotonic()
            assert first.stop() == 0
            assert time.monotonic() - began < 60
        stored, left = len(aws.objects), len(aws.queue)
        assert messages // 6 < stored < messages
        assert stored + left == messages, "what is stored is deleted, and nothing else is"
        at_once = 0
        while received := aws.queue.receive(10):
            at_once += len(received)
        assert at_once == left, "what it had not begun is there for others without a wait"
        aws.clock.turn(61)
        with started("worker", env, tmp_path / "second"):
            wait_until(lambda: len(aws.queue) == 0)
    assert bodies(aws) == sorted(sent)
    assert aws.puts == {200: messages}


@pytest.mark.parametrize("operation", ["ReceiveMessage", "DeleteMessageBatch", "PutObject"])
def test_connections_that_are_cut_cost_time_and_nothing_else(tmp_path: Path, operation: str) -> None:
    calls = 0

    def before(name: str) -> None:
        nonlocal calls
        if name == operation:
            calls += 1
            if calls % 7 == 1:
                raise Cut

    with FakeAws(before=before).running() as aws:
        sent = aws.fill(200)
        with started("worker", aws.env, tmp_path / "log") as process:
            wait_until_empty(aws)
            assert process.stop() == 0
    assert bodies(aws) == sorted(sent)
