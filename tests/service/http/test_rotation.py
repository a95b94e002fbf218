"""The token is changed while clients send: whoever has the token of before or of now is never refused."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.http.errors import Unauthorized, Unavailable
from service.http.tokens import Tokens
from service.thread_pool import ThreadPool
from tests.service.conftest import Aws
from tests.service.harness import LIVENESS_SECONDS, Process, started, wait_until
from tests.service.memory import MemoryParameter

TASKS = 3
CLIENTS_A_TASK = 3


@pytest.fixture
def tasks(aws: Aws, queue_url: str, tmp_path: Path) -> Iterator[list[Process]]:
    """Several tasks of one service, with a token of this test's own."""
    aws.client("ssm").put_parameter(Name="/test/rotated", Value="v1", Type="SecureString", Overwrite=True)
    with contextlib.ExitStack() as stack:
        processes = []
        for number in range(TASKS):
            (tmp_path / f"files-{number}").mkdir()
            env = {
                **aws.env,
                "FILES_DIR": str(tmp_path / f"files-{number}"),
                "INBOX_QUEUE_URL": queue_url,
                "API_TOKEN_PARAMETER": "/test/rotated",
                "DRAIN_SECONDS": "0",
            }
            processes.append(stack.enter_context(started("api", env, tmp_path / f"log-{number}", measure=False)))
        yield processes


@dataclass
class Load:
    """Clients that present tokens without a pause, and what they were answered."""

    live: list[str]
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def client(self, process: Process, *, wrong: str = "") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=LIVENESS_SECONDS)
        turn = 0
        while not self.over.is_set():
            # Read once: the token may change while the request is under way, and the one presented stays live.
            live = self.live
            token = wrong or live[turn % len(live)]
            turn += 1
            body = json.dumps({"token": token, "data": {"email_timestream": 1, "turn": turn}})
            connection.request("POST", "/ingest", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            self.answers[token, answer.status] += 1
        connection.close()


def test_a_token_changed_under_load_refuses_nobody_who_has_a_live_one(aws: Aws, tasks: list[Process]) -> None:
    load = Load(["v1"])
    threads = [threading.Thread(target=load.client, args=[process]) for process in tasks for _ in range(CLIENTS_A_TASK)]
    # A client that is never right: what it makes the tasks look up must not be in the way of those who are.
    threads += [threading.Thread(target=load.client, args=[process], kwargs={"wrong": "guess"}) for process in tasks]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 5):
            # Each in use before the next one comes; whoever waits for a token to be looked up must not find it old.
            wait_until(lambda token=f"v{version - 1}": load.answers[token, 202] > 20)  # type: ignore[misc]
            aws.client("ssm").put_parameter(
                Name="/test/rotated", Value=f"v{version}", Type="SecureString", Overwrite=True
            )
            # From now on some clients have the new one, and some the one before it.
            load.live = [f"v{version}", f"v{version - 1}"]
        wait_until(lambda: load.answers["v4", 202] > 20)
    finally:
        load.over.set()
        for thread in threads:
            thread.join(LIVENESS_SECONDS)
    right = {key: count for key, count in load.answers.items() if key[0] != "guess"}
    assert {status for _, status in right} == {202}, right
    assert {token for token, _ in right} == {"v1", "v2", "v3", "v4"}
    assert {status for token, status in load.answers if token == "guess"} == {401}


def test_a_task_that_has_slept_through_a_rotation_takes_the_token_between() -> None:
    """Two rotations between two looks at the parameter: the value before the current one was never seen here."""
    threads = ThreadPool("test", 1)
    parameter = MemoryParameter("one")
    tokens = Tokens(parameter, threads)
    tokens.load()
    parameter.value, parameter.before = "three", ("two", 5.0)

    async def main() -> None:
        for token in (b"three", b"two", b"one"):
            await tokens.check(token)

    asyncio.run(main())
    threads.close()


def test_a_new_token_waits_its_turn_when_a_wrong_one_was_looked_up_just_now() -> None:
    looked: list[float] = []

    class Timed(MemoryParameter):
        def get(self) -> str:
            looked.append(time.monotonic())
            return super().get()

    threads = ThreadPool("test", 1)
    parameter = Timed("one")
    tokens = Tokens(parameter, threads, hurry_seconds=0.3)
    tokens.load()

    async def main() -> None:
        with pytest.raises(Unauthorized):
            await tokens.check(b"guess")
        parameter.value = "two"
        await tokens.check(b"two")

    asyncio.run(main())
    assert parameter.reads == 3
    assert looked[2] - looked[1] > 0.2, "it waited, and was not refused"
    threads.close()


def test_a_refresh_that_began_before_the_token_was_presented_does_not_refuse_it() -> None:
    """Its answer may be of the time before the rotation."""
    go_on, reading = threading.Event(), threading.Event()

    class Slow(MemoryParameter):
        def get(self) -> str:
            value = super().get()
            if self.reads == 2:
                reading.set()
                assert go_on.wait(LIVENESS_SECONDS)
            return value

    threads = ThreadPool("test", 2)
    parameter = Slow("one")
    tokens = Tokens(parameter, threads, hurry_seconds=0.01)
    tokens.load()

    async def main() -> None:
        guess = asyncio.create_task(tokens.check(b"guess"))
        assert await asyncio.to_thread(reading.wait, LIVENESS_SECONDS)
        parameter.value = "two"
        right = asyncio.create_task(tokens.check(b"two"))
        await asyncio.sleep(0.1)
        go_on.set()
        await right
        with pytest.raises(Unauthorized):
            await guess

    asyncio.run(main())
    threads.close()


def test_a_flood_of_wrong_tokens_is_bounded_and_no_live_one_notices() -> None:
    threads = ThreadPool("test", 1)
    parameter = MemoryParameter("one")
    tokens = Tokens(parameter, threads, hurry_seconds=0.2, most_waiting=10)
    tokens.load()

    async def main() -> None:
        await asyncio.gather(tokens.check(b"first"), return_exceptions=True)
        flood = [asyncio.create_task(tokens.check(f"guess {n}".encode())) for n in range(50)]
        await asyncio.sleep(0)
        await tokens.check(b"one")
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        kinds = Counter(type(outcome) for outcome in outcomes)
        assert kinds == {Unauthorized: 10, Unavailable: 40}

    asyncio.run(main())
    assert parameter.reads <= 3
    threads.close()
