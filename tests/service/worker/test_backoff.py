from __future__ import annotations

from service.worker.backoff import Backoff


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock) -> Backoff:
    return Backoff(30, shortest_seconds=1, clock=clock, jitter=lambda: 1.0)


def test_it_doubles_with_each_failure_in_a_row_up_to_the_longest() -> None:
    clock = Clock()
    pause = make(clock)
    seen = []
    for _ in range(8):
        assert pause.seconds == 0
        pause.failed()
        seen.append(pause.seconds)
        clock.now += pause.seconds
    assert seen == [1, 2, 4, 8, 16, 30, 30, 30]


def test_calls_that_fail_together_are_one_failure() -> None:
    clock = Clock()
    pause = make(clock)
    for _ in range(100):
        pause.failed()
    assert pause.seconds == 1


def test_a_success_ends_it() -> None:
    clock = Clock()
    pause = make(clock)
    pause.failed()
    clock.now += 1
    pause.failed()
    assert pause.seconds == 2
    pause.worked()
    assert pause.seconds == 0
    pause.failed()
    assert pause.seconds == 1


def test_it_is_failing_from_a_failure_to_the_next_success() -> None:
    clock = Clock()
    pause = make(clock)
    assert not pause.failing
    pause.failed()
    clock.now += 100
    assert pause.seconds == 0 and pause.failing
    pause.worked()
    assert not pause.failing


def test_the_jitter_stays_within_half_of_it() -> None:
    pause = Backoff(30)
    pause.failed()
    assert 0.4 < pause.seconds <= 1
