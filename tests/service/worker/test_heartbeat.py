from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from service.http.check import check
from service.worker.heartbeat import Heartbeat, LivenessServer
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
    made = LivenessServer(free_port(), Heartbeat(60, clock))
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
    heartbeat = Heartbeat(60, clock)
    clock.now = 100
    assert not heartbeat.fresh
    heartbeat.beat()
    assert heartbeat.fresh


def test_one_silent_pulse_among_many_is_503_and_named() -> None:
    clock = Clock()
    polls, deletes = Heartbeat(60, clock, name="polls"), Heartbeat(60, clock, name="deletes")
    server = LivenessServer(free_port(), polls, deletes)
    server.start()
    url = f"http://127.0.0.1:{server.port}/health/live"
    assert status(url) == 200
    clock.now = 60
    polls.beat()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=5)
    with caught.value as answer:
        assert (answer.code, json.load(answer)["detail"]) == (503, "silent: deletes")
    deletes.rest()
    assert status(url) == 200
    server.close()


def test_a_pulse_that_rests_is_fresh_until_it_beats_again(clock: Clock) -> None:
    heartbeat = Heartbeat(60, clock)
    heartbeat.rest()
    clock.now = 1000
    assert heartbeat.fresh
    heartbeat.beat()
    clock.now = 1060
    assert not heartbeat.fresh
