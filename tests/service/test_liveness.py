from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.check import check
from service.liveness import LivenessServer, Pulse
from tests.service.harness import free_port, status


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[LivenessServer]:
    made = LivenessServer(free_port(), Pulse(60, clock))
    made.start()
    yield made
    made.close()


def test_a_fresh_pulse_is_200_and_an_old_one_503(server: LivenessServer, clock: Clock) -> None:
    url = f"http://127.0.0.1:{server.port}/health/live"
    assert status(url) == 200
    clock.now = 59
    assert status(url) == 200
    clock.now = 60
    assert status(url) == 503
    assert status(f"http://127.0.0.1:{server.port}/") == 404


def test_the_container_check_believes_it(
    server: LivenessServer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check({"PORT": str(server.port)}) == 0
    clock.now = 1000
    assert check({"PORT": str(server.port)}) == 1
    assert "answered 503" in capsys.readouterr().err


def test_a_beat_makes_the_pulse_fresh_again(clock: Clock) -> None:
    pulse = Pulse(60, clock)
    clock.now = 100
    assert not pulse.fresh
    pulse.beat()
    assert pulse.fresh
