from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.worker.protection import Protection, Protector
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.serving import serving


def played(protection: Protection, busy: list[bool], *, granted: bool = True) -> list[tuple[int, bool]]:
    """What is asked for at which second, given whether there is work in each."""
    asked = []
    for second, is_busy in enumerate(busy):
        wanted = protection.wanted(second, busy=is_busy)
        if wanted is not None:
            asked.append((second, wanted))
            protection.asked(second, wanted, granted=granted)
    return asked


def test_work_is_protected_from_its_beginning_to_its_end() -> None:
    busy = [False] * 5 + [True] * 100 + [False] * 60
    assert played(Protection(busy_seconds=2, idle_seconds=10), busy) == [(7, True), (114, False)]


def test_single_messages_change_nothing() -> None:
    busy = [second % 20 == 0 for second in range(600)]
    assert played(Protection(), busy) == []


def test_a_pause_in_the_work_is_not_its_end() -> None:
    busy = [True] * 10 + [False] * 9 + [True] * 10
    assert played(Protection(idle_seconds=10), busy) == [(2, True)]


def test_it_is_renewed_before_it_expires() -> None:
    asked = played(Protection(expiry_minutes=5, renew_seconds=240, longest_seconds=10_000), [True] * 1000)
    assert asked == [(2, True), (242, True), (482, True), (722, True), (962, True)]


def test_under_constant_work_it_lapses_for_a_moment_so_that_a_deployment_goes_on() -> None:
    protection = Protection(renew_seconds=240, longest_seconds=900, lapse_seconds=60)
    asked = played(protection, [True] * 1200)
    assert (962, False) in asked
    after = [second for second, wanted in asked if second > 962]
    assert after[0] == 1022, "a minute later it begins anew"


def test_it_expires_by_itself_when_the_worker_hangs() -> None:
    assert Protection().expiry_minutes * 60 <= 600


def test_what_was_refused_is_asked_again_later_and_not_every_second() -> None:
    asked = played(Protection(retry_seconds=30), [True] * 100, granted=False)
    assert asked == [(2, True), (32, True), (62, True), (92, True)]


class Agent:
    """The ECS agent's endpoint."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.answer: object = {"protection": {"ProtectionEnabled": True, "TaskArn": "arn"}}
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                agent.asked.append((self.path, json.loads(body)))
                content = agent.answer if isinstance(agent.answer, bytes) else json.dumps(agent.answer).encode()
                self.send_response(agent.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/task"


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_agent_is_asked_as_ecs_documents_it(agent: Agent) -> None:
    clock, work = Clock(), [1]
    protector = Protector(agent.url, Protection(expiry_minutes=5), lambda: work[0], clock=clock)
    for second in range(5):
        clock.now = second
        protector.tick()
    work[0] = 0
    clock.now = 60
    protector.tick()
    path = "/api/task/task-protection/v1/state"
    assert agent.asked == [
        (path, {"ProtectionEnabled": True, "ExpiresInMinutes": 5}),
        (path, {"ProtectionEnabled": False}),
    ]


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (200, {"failure": {"Arn": "arn", "Detail": None, "Reason": "TASK_NOT_VALID"}}, "TASK_NOT_VALID"),
        (400, {"error": {"Arn": "arn", "Code": "AccessDeniedException", "Message": "no"}}, "AccessDeniedException: no"),
        (400, {"requestID": "1", "error": {"Code": "ThrottlingException", "Message": "slow"}}, "ThrottlingException"),
        (500, b"", "can't be read"),
        (200, b"<html>", "JSONDecodeError"),
        (200, [], "can't be read"),
        (500, {}, "status 500"),
    ],
)
def test_a_refusal_is_logged_with_its_reason_and_harms_nothing(
    agent: Agent, caplog: pytest.LogCaptureFixture, status: int, answer: object, reason: str
) -> None:
    agent.status, agent.answer = status, answer
    protector = Protector(agent.url, Protection(busy_seconds=0), lambda: 1)
    with caplog.at_level(logging.WARNING):
        protector.tick()
    assert reason in str(vars(caplog.records[-1])["fields"])
    protector.tick()
    assert len(agent.asked) == 1, "not again at once"


def test_an_agent_that_is_not_there_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Protector("http://127.0.0.1:9", Protection(busy_seconds=0), lambda: 1).tick()
    assert "refused" in str(vars(caplog.records[-1])["fields"])


def test_the_thread_asks_by_itself_and_survives_what_goes_wrong(agent: Agent) -> None:
    failures = [ValueError("once")]

    def in_work() -> int:
        with contextlib.suppress(IndexError):
            raise failures.pop()
        return 1

    protector = Protector(agent.url, Protection(busy_seconds=0), in_work, tick_seconds=0.01)
    protector.start()
    wait_until(lambda: len(agent.asked) == 1)
    protector.close()


def test_an_answer_under_way_is_not_waited_for_when_it_closes() -> None:
    asked, released = threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.set()
            released.wait(LIVENESS_SECONDS)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Slow) as url:
        protector = Protector(url, Protection(busy_seconds=0), lambda: 1, tick_seconds=0.001)
        protector.start()
        assert asked.wait(LIVENESS_SECONDS)
        protector.close(0.01)
        assert not released.is_set()
        released.set()
        protector.close(LIVENESS_SECONDS)
