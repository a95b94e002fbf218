from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from service.aws.queues import Failed, Message, Outgoing, QueueAway
from service.worker.backoff import Backoff
from service.worker.deletes import Deleter
from service.worker.heartbeat import SILENCE_SECONDS
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.memory import MemoryQueue


def received(queue: MemoryQueue, count: int) -> list[Message]:
    for number in range(count):
        queue.send([Outgoing(f'{{"n":{number}}}')])
    return queue.receive(count)


def test_what_is_added_is_deleted_in_batches_by_the_time_it_closes() -> None:
    queue = MemoryQueue()
    done: list[Message] = []
    sizes: list[int] = []
    original = queue.delete

    class Counting(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            sizes.append(len(messages))
            return original(messages)

    messages = received(queue, 23)
    deleter = Deleter(Counting(), done.append, linger_seconds=0.2)
    for message in messages:
        deleter.add(message)
    deleter.start()
    deleter.close()
    assert len(queue) == 0
    assert done == messages
    assert sizes == [10, 10, 3]


def test_only_those_that_failed_are_tried_again() -> None:
    queue = MemoryQueue()
    messages = received(queue, 3)
    failures = [messages[1].message_id]
    queue.keep = lambda message: message.message_id in failures and bool(failures.pop())
    deleter = Deleter(queue, lambda _: None, pause_seconds=0.001)
    for message in messages:
        deleter.add(message)
    deleter.start()
    deleter.close()
    assert len(queue) == 0
    assert sorted(message.message_id for message in queue.deleted) == sorted(message.message_id for message in messages)


def test_a_message_that_stays_is_given_up_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    queue = MemoryQueue()
    messages = received(queue, 1)
    queue.keep = lambda _: True
    done: list[Message] = []
    deleter = Deleter(queue, done.append, attempts=2, pause_seconds=0.001)
    deleter.add(messages[0])
    with caplog.at_level(logging.ERROR):
        deleter.start()
        deleter.close()
    assert done == messages
    assert messages[0].message_id in str(vars(caplog.records[-1])["fields"])


def test_a_queue_that_is_away_for_a_moment_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    queue = MemoryQueue()
    messages = received(queue, 1)
    queue.away = True
    deleter = Deleter(queue, lambda _: None, attempts=20, pause_seconds=0.01)
    deleter.start()
    deleter.add(messages[0])
    wait_until(lambda: "messages could not be deleted" in caplog.text)
    queue.away = False
    wait_until(lambda: len(queue) == 0)
    deleter.close()


def test_a_message_that_is_another_workers_by_now_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    queue = MemoryQueue(visibility_seconds=0)
    stale = received(queue, 1)
    latest = queue.receive(1)
    calls: list[int] = []
    original = queue.delete

    class Counting(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            calls.append(len(messages))
            return original(messages)

    done: list[Message] = []
    deleter = Deleter(Counting(), done.append, pause_seconds=0.001)
    deleter.add(stale[0])
    with caplog.at_level(logging.WARNING):
        deleter.start()
        deleter.close()
    assert calls == [1]
    assert done == stale
    assert "another worker" in caplog.text
    assert len(queue) == 1 and queue.delete(latest) == []


def test_a_slow_call_does_not_hold_up_the_next_batch() -> None:
    queue = MemoryQueue()
    messages = received(queue, 10) + received(queue, 10)
    go_on, first = threading.Event(), threading.Lock()
    original = queue.delete

    class Slow(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            if first.acquire(blocking=False):
                assert go_on.wait(10)
            return original(messages)

    deleter = Deleter(Slow(), lambda _: None, threads=2)
    deleter.start()
    for message in messages:
        deleter.add(message)
    wait_until(lambda: len(queue) == 10)
    go_on.set()
    deleter.close()
    assert len(queue) == 0


def test_a_queue_that_stays_away_is_given_up_for_the_moment(caplog: pytest.LogCaptureFixture) -> None:
    queue = MemoryQueue()
    messages = received(queue, 1)
    queue.away = True
    done: list[Message] = []
    deleter = Deleter(queue, done.append, attempts=2, pause_seconds=0.001)
    deleter.add(messages[0])
    with caplog.at_level(logging.WARNING):
        deleter.start()
        deleter.close()
    assert done == messages
    assert "will be delivered again" in caplog.text


def test_a_call_that_hangs_lets_the_pulse_go_silent_and_waiting_for_work_does_not() -> None:
    queue = MemoryQueue()
    messages = received(queue, 1)
    now, hangs, go_on = [0.0], threading.Event(), threading.Event()
    original = queue.delete

    class Hanging(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            hangs.set()
            assert go_on.wait(LIVENESS_SECONDS)
            return original(messages)

    deleter = Deleter(Hanging(), lambda _: None, threads=2, linger_seconds=0.001, clock=lambda: now[0])
    deleter.start()
    wait_until(lambda: all(heartbeat.age_seconds < 0 for heartbeat in deleter.heartbeats))
    now[0] += 2 * SILENCE_SECONDS
    assert all(heartbeat.fresh for heartbeat in deleter.heartbeats)
    deleter.add(messages[0])
    assert hangs.wait(LIVENESS_SECONDS)
    now[0] += SILENCE_SECONDS
    assert sorted(heartbeat.fresh for heartbeat in deleter.heartbeats) == [False, True]
    go_on.set()
    deleter.close()
    assert all(heartbeat.fresh for heartbeat in deleter.heartbeats)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_lets_its_pulse_go_silent() -> None:
    queue = MemoryQueue()
    now, dies = [0.0], threading.Event()

    def done(_: Message) -> None:
        dies.set()
        raise ValueError("a mistake")

    deleter = Deleter(queue, done, threads=1, linger_seconds=0.001, clock=lambda: now[0])
    deleter.start()
    deleter.add(received(queue, 1)[0])
    assert dies.wait(LIVENESS_SECONDS)
    deleter.close()
    now[0] += SILENCE_SECONDS
    assert [heartbeat.fresh for heartbeat in deleter.heartbeats] == [False]


def test_while_the_queue_takes_no_delete_it_is_tried_ever_more_slowly_and_not_given_up() -> None:
    queue = MemoryQueue()
    messages = received(queue, 1)
    calls: list[bool] = []
    original = queue.delete
    backoff = Backoff(0.002, shortest_seconds=0.001)

    class Away(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            calls.append(backoff.failing)
            if len(calls) <= 10:
                raise QueueAway("Away")
            return original(messages)

    done: list[Message] = []
    deleter = Deleter(Away(), done.append, threads=1, attempts=2, backoff=backoff)
    deleter.start()
    deleter.add(messages[0])
    wait_until(lambda: done == messages)
    assert len(queue) == 0
    assert calls == [False, *[True] * 10]
    assert not backoff.failing
    deleter.close()


def test_deletes_of_which_each_fails_are_a_sign_and_a_single_one_is_none() -> None:
    queue = MemoryQueue()
    messages = received(queue, 2)
    backoff = Backoff(30)
    queue.keep = lambda message: message.message_id == messages[0].message_id
    deleter = Deleter(queue, lambda _: None, threads=1, attempts=1, linger_seconds=1, backoff=backoff)
    for message in messages:
        deleter.add(message)
    deleter.start()
    wait_until(lambda: len(queue.deleted) == 1)
    deleter.add(messages[0])
    assert deleter.close()
    assert backoff.failing


def test_closing_waits_no_longer_than_it_is_told() -> None:
    queue = MemoryQueue()
    go_on = threading.Event()

    class Hanging(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            assert go_on.wait(LIVENESS_SECONDS)
            return []

    deleter = Deleter(Hanging(), lambda _: None, threads=2)
    deleter.start()
    deleter.add(received(queue, 1)[0])
    assert not deleter.close(0.01)
    go_on.set()
    assert deleter.close(LIVENESS_SECONDS)
