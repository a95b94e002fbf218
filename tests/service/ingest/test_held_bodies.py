"""What bodies cost while their requests wait: memory of a real process, from /proc, and whether others still get through.

The soaks have the size of the promise; the ordinary tests do the same at a tenth of it, and measure no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.fake_sqs import FakeSqs
from tests.service.fake_ssm import FakeSsm, api_env
from tests.service.harness import LIVENESS_SECONDS, TOKEN, Process, started, wait_until
from tests.service.raw_http import Connection, head, read_answer

BODY_BYTES = 64 * 1024
GROWTH_MIB = 96
# As a client's clock tells it: the soaks need a machine that does nothing else.
VALID_SECONDS = 1.0


@dataclass
class Task:
    """A task of the API with a queue and a parameter store of its own."""

    process: Process
    ssm: FakeSsm
    sqs: FakeSqs

    def forget_peak(self) -> float:
        """MiB in memory now; the peak counts from here."""
        Path(f"/proc/{self.process.popen.pid}/clear_refs").write_text("5")
        return self._status("VmRSS")

    def peak(self) -> float:
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.process.popen.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise LookupError(name)


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Task]:
    (tmp_path / "files").mkdir()
    with contextlib.ExitStack() as stack:
        sqs = stack.enter_context(FakeSqs().running())
        ssm = stack.enter_context(FakeSsm(TOKEN).running())
        env = api_env(tmp_path / "files", sqs, ssm)
        yield Task(stack.enter_context(started("api", env, tmp_path / "log")), ssm, sqs)


def body_of(token: str | None, size: int = BODY_BYTES) -> bytes:
    """Empty objects without end, which take thirty times their text once they are parsed.

    From anyone but who may send it, without the time that must be there: an error is found in it as well.
    """
    start: dict[str, object] = {} if token is None else {"token": token}
    time_of_it = {"email_timestream": 1} if token == TOKEN else {}
    text = json.dumps({**start, "data": {**time_of_it, "x": [0]}})
    return text.replace("[0]", "[" + "{}," * ((size - len(text)) // 3) + "0]").encode()


async def post(port: int, body: bytes, **headers: str) -> int:
    """The status that one request is answered, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head("POST", "/ingest", len(body), Content_Type="application/json", **headers) + body)
        return (await read_answer(reader)).status
    finally:
        writer.close()


async def flood(port: int, count: int, kind: str) -> Counter[int]:
    """What ``count`` clients of a kind are answered who send all at once."""
    if kind == "header":
        body = body_of(None)
        asked = (post(port, body, Authorization=f"Bearer guess-{number:04}") for number in range(count))
    else:
        body = body_of({"unknown": "guess-0000", "known": TOKEN, "missing": None}[kind])
        asked = (post(port, body.replace(b"guess-0000", b"guess-%04d" % number)) for number in range(count))
    return Counter(await asyncio.gather(*asked))


@contextlib.contextmanager
def valid_requests(task: Task) -> Iterator[list[float]]:
    """A client that sends valid requests one after another; how long each took for it, in seconds."""
    took: list[float] = []
    over = threading.Event()
    body = body_of(TOKEN, size=1000)

    def send() -> None:
        with Connection(task.process.port) as connection:
            while not over.wait(0.02):
                began = time.monotonic()
                answer = connection.ask("POST", "/ingest", body, Content_Type="application/json")
                assert answer.status == 202, answer.body
                took.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as client:
        sending = client.submit(send)
        try:
            yield took
        finally:
            over.set()
        sending.result()


def growth_of(task: Task, count: int, kind: str) -> tuple[float, Counter[int], list[float]]:
    """MiB by which the process has grown at most, what the clients were answered, and what valid requests took."""
    # What the first requests make the process load and allocate for good is no body.
    with valid_requests(task) as warm:
        wait_until(lambda: len(warm) > 20)
    before = task.forget_peak()
    with valid_requests(task) as took:
        answers = asyncio.run(flood(task.process.port, count, kind))
        wait_until(lambda: bool(took))
    return task.peak() - before, answers, took


# Who is known is answered 202 or, when the queue has no room for more, 503.
ANSWERS = {"unknown": {401, 503}, "missing": {401, 503}, "header": {401, 503}, "known": {202, 503}}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_hundred_bodies_of_a_kind_take_little_more_than_their_bytes(task: Task, kind: str) -> None:
    growth, answers, took = growth_of(task, 100, kind)
    assert set(answers) <= ANSWERS[kind], answers
    assert growth <= 32, "6 MiB of bodies, and what one thread and a hundred connections take"
    assert took


@pytest.mark.soak
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_thousand_bodies_of_a_kind_take_little_more_than_their_bytes(task: Task, kind: str) -> None:
    growth, answers, took = growth_of(task, 1000, kind)
    assert set(answers) <= ANSWERS[kind], answers
    if kind == "known":
        # Theirs are in the queue's buffer and in the calls that send them besides, and in line before whoever comes next.
        assert growth <= GROWTH_MIB + 32
    else:
        assert growth <= GROWTH_MIB
        assert max(took) <= VALID_SECONDS


def test_unknown_tokens_that_wait_for_a_parameter_store_hold_up_no_valid_request(task: Task) -> None:
    task.ssm.answers.clear()
    task.ssm.asked.clear()
    port = task.process.port
    before = task.forget_peak()

    async def main() -> Counter[int]:
        waiting = asyncio.create_task(flood(port, 50, "unknown"))
        assert await asyncio.to_thread(task.ssm.asked.wait, LIVENESS_SECONDS)
        # Nothing lets these go on but the process itself: the parameter store does not answer.
        for _ in range(20):
            assert await post(port, body_of(TOKEN, size=1000)) == 202
        assert task.ssm.under_way == 1
        task.ssm.answers.set()
        return await waiting

    answers = asyncio.run(main())
    assert set(answers) <= {401, 503}, answers
    assert task.peak() - before <= 32


@pytest.mark.soak
def test_five_hundred_bodies_and_a_parameter_store_that_hangs_cost_others_nothing(task: Task) -> None:
    task.ssm.answers.clear()
    growth, answers, took = growth_of(task, 500, "unknown")
    assert answers == {503: 500}
    assert growth <= GROWTH_MIB
    assert max(took) <= VALID_SECONDS
