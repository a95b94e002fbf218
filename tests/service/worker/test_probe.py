from __future__ import annotations

import threading

import pytest

from service.aws.queues import Message, Outgoing
from service.worker.backoff import Backoff
from service.worker.probe import Probe
from service.worker.visibility import VisibilityExtender
from tests.service.memory import MemoryQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """Two messages in work, and a probe whose pauses take no time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue = MemoryQueue(visibility_seconds=30, clock=self.clock)
        self.extender = VisibilityExtender(self.queue, 30, longest_seconds=100, clock=self.clock)
        self.stopping = threading.Event()
        self.backoff = Backoff(30, shortest_seconds=30, clock=self.clock)
        self.probe = Probe(self.backoff, self.extender, self.stopping, longest_seconds=100, clock=self.clock)
        self.first, self.second = self.receive(), self.receive()

    def receive(self) -> Message:
        self.queue.send([Outgoing("{}")])
        (message,) = self.queue.receive(1)
        self.extender.hold(message)
        return message

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            self.extender.renew()


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_one_message_is_kept_at_a_time(kept: Kept) -> None:
    assert kept.probe.keep(kept.first)
    assert not kept.probe.keep(kept.second)
    assert kept.probe.keep(kept.first), "it may fail again and again"
    kept.probe.end(kept.second)
    assert not kept.probe.keep(kept.second), "only what is kept makes room"
    kept.probe.end(kept.first)
    assert kept.probe.keep(kept.second)


def test_it_is_kept_from_others_while_it_is_tried_and_not_called_stuck(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert kept.probe.keep(kept.first)
        kept.pass_time(33)
    assert kept.queue.receive(1) == []
    assert kept.first.receive_count == 1
    assert len(kept.extender) == 2 and not caplog.records


def test_it_is_handed_back_after_a_time_that_doubles_with_each_delivery(kept: Kept) -> None:
    assert kept.probe.keep(kept.first)
    kept.pass_time(60)
    assert kept.probe.keep(kept.first)
    kept.pass_time(40)
    assert not kept.probe.keep(kept.first)
    assert kept.probe.keep(kept.second), "another one's turn"
    kept.probe.end(kept.second)

    kept.queue.hide([kept.first], 0)
    kept.extender.release(kept.first)
    (again,) = kept.queue.receive(1)
    assert again.receive_count == 2
    kept.extender.hold(again)
    for _ in range(4):
        assert kept.probe.keep(again)
        kept.pass_time(50)
    assert not kept.probe.keep(again)


def test_one_that_is_another_workers_by_now_is_let_go(kept: Kept) -> None:
    assert kept.probe.keep(kept.first)
    kept.extender.release(kept.first)
    assert not kept.probe.keep(kept.first)
    assert kept.probe.keep(kept.second)


def test_it_waits_out_the_pause_and_not_when_the_worker_stops(kept: Kept) -> None:
    kept.backoff.failed()
    assert kept.backoff.seconds > 10
    kept.stopping.set()
    assert not kept.probe.keep(kept.first)
