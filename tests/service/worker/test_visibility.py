from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from service.aws.queues import Failed, Message, Outgoing
from service.worker.backoff import Backoff
from service.worker.heartbeat import SILENCE_SECONDS
from service.worker.visibility import VisibilityExtender
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.memory import MemoryQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def receive(queue: MemoryQueue, count: int) -> list[Message]:
    for _ in range(count):
        queue.send([Outgoing("{}")])
    return queue.receive(count)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> MemoryQueue:
    return MemoryQueue(visibility_seconds=30, clock=clock)


def test_a_held_message_stays_hidden_for_as_long_as_it_is_held(queue: MemoryQueue, clock: Clock) -> None:
    (message,) = receive(queue, 1)
    extender = VisibilityExtender(queue, 30, clock=clock)
    extender.hold(message)
    for _ in range(10):
        clock.now += 10
        extender.renew()
        assert queue.receive(1) == []
    extender.release(message)
    clock.now += 31
    extender.renew()
    assert len(queue.receive(1)) == 1


def test_only_what_is_due_is_renewed(queue: MemoryQueue, clock: Clock) -> None:
    messages = receive(queue, 25)
    extender = VisibilityExtender(queue, 30, clock=clock)
    for message in messages:
        extender.hold(message)
    clock.now += 9
    extender.renew()
    assert queue.hidden == []
    clock.now += 1
    extender.renew()
    extender.renew()
    assert sorted(queue.hidden) == sorted((message.message_id, 30) for message in messages)


def test_a_message_held_too_long_is_let_go(queue: MemoryQueue, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    (message,) = receive(queue, 1)
    extender = VisibilityExtender(queue, 30, longest_seconds=100, clock=clock)
    extender.hold(message)
    clock.now += 101
    with caplog.at_level(logging.ERROR):
        extender.renew()
    assert len(extender) == 0
    assert "too long" in caplog.text


def test_a_renewal_that_fails_is_tried_again_at_the_next_turn(queue: MemoryQueue, clock: Clock) -> None:
    (message,) = receive(queue, 1)
    extender = VisibilityExtender(queue, 30, clock=clock)
    extender.hold(message)
    clock.now += 10
    queue.away = True
    extender.renew()
    queue.away = False
    extender.renew()
    assert queue.hidden == [(message.message_id, 30)]


def test_the_thread_renews_by_itself() -> None:
    queue = MemoryQueue(visibility_seconds=1)
    (message,) = receive(queue, 1)
    extender = VisibilityExtender(queue, 1)
    extender.hold(message)
    extender.start()
    wait_until(lambda: len(queue.hidden) > 0)
    extender.close()


def test_a_message_that_is_another_workers_by_now_is_let_go(
    queue: MemoryQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (message,) = receive(queue, 1)
    extender = VisibilityExtender(queue, 30, clock=clock)
    extender.hold(message)
    clock.now += 31
    (theirs,) = queue.receive(1)
    with caplog.at_level(logging.WARNING):
        extender.renew()
    assert len(extender) == 0
    assert "another worker" in caplog.text
    clock.now += 29
    assert queue.receive(1) == [], "nor did it touch the other's lease"
    assert queue.delete([theirs]) == []


def test_a_message_that_ends_while_it_is_renewed_is_no_loss(
    queue: MemoryQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (message,) = receive(queue, 1)

    class Ending(MemoryQueue):
        def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
            queue.delete(messages)
            extender.release(message)
            return queue.hide(messages, seconds)

    extender = VisibilityExtender(Ending(), 30, clock=clock)
    extender.hold(message)
    clock.now += 10
    with caplog.at_level(logging.WARNING):
        extender.renew()
    assert not caplog.records


def test_renewals_that_fail_for_some_are_tried_again_for_those(queue: MemoryQueue, clock: Clock) -> None:
    messages = receive(queue, 2)
    failing = [True]

    class Failing(MemoryQueue):
        def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
            failed = [Failed(messages[0], "InternalError", sender_fault=False)] if failing.pop() else []
            queue.hide(messages[len(failed) :], seconds)
            failing.append(False)
            return failed

    extender = VisibilityExtender(Failing(), 30, clock=clock)
    for message in messages:
        extender.hold(message)
    clock.now += 10
    extender.renew()
    extender.renew()
    assert sorted(queue.hidden) == sorted((message.message_id, 30) for message in messages)


def test_a_renewal_that_hangs_lets_the_pulse_go_silent(queue: MemoryQueue, clock: Clock) -> None:
    hangs, go_on = threading.Event(), threading.Event()

    class Hanging(MemoryQueue):
        def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
            hangs.set()
            assert go_on.wait(LIVENESS_SECONDS)
            return []

    extender = VisibilityExtender(Hanging(), 1, clock=clock)
    extender.start()
    for _ in range(3):
        clock.now += SILENCE_SECONDS
        wait_until(lambda: extender.heartbeat.fresh)
    (message,) = receive(queue, 1)
    extender.hold(message)
    clock.now += 1
    assert hangs.wait(LIVENESS_SECONDS)
    clock.now += SILENCE_SECONDS
    assert not extender.heartbeat.fresh
    go_on.set()
    wait_until(lambda: extender.heartbeat.fresh)
    extender.close()


def test_it_is_known_while_there_is_what_can_not_be_renewed(queue: MemoryQueue, clock: Clock) -> None:
    (message,) = receive(queue, 1)
    backoff = Backoff(30, clock=clock)
    extender = VisibilityExtender(queue, 30, backoff=backoff, clock=clock)
    extender.hold(message)
    clock.now += 10
    queue.away = True
    extender.renew()
    assert backoff.failing
    extender.release(message)
    extender.renew()
    assert not backoff.failing, "no more of it is to be renewed"


def test_what_is_handed_back_while_another_batch_is_renewed_is_not_hidden_again(
    queue: MemoryQueue, clock: Clock
) -> None:
    messages = receive(queue, 25)
    released: list[Message] = []

    class Slow(MemoryQueue):
        def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
            released.extend(extender.release_all())
            return queue.hide(messages, seconds)

    extender = VisibilityExtender(Slow(), 30, clock=clock)
    for message in messages:
        extender.hold(message)
    clock.now += 10
    extender.renew()
    assert sorted(message.message_id for message in released) == sorted(message.message_id for message in messages)
    assert len(queue.hidden) == 10
    assert len(extender) == 0
