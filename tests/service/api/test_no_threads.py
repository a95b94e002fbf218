"""A process that can't start threads for a while: it says so, answers everyone, and goes on when it can."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.fake_sqs import FakeSqs
from tests.service.fake_ssm import FakeSsm, api_env
from tests.service.harness import TOKEN, Process, started, status
from tests.service.raw_http import ask

# Less than the stack of a thread (8 MiB, RLIMIT_STACK), more than what a few requests need.
HEADROOM_BYTES = 6 * 1024 * 1024


@contextlib.contextmanager
def no_threads(pid: int) -> Iterator[None]:
    """The address space of a process ends where it is now: pthread_create() finds no room for a stack."""
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size + HEADROOM_BYTES, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_AS, before)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "files").mkdir()
    with FakeSqs().running() as sqs, FakeSsm(TOKEN).running() as ssm:
        env = api_env(tmp_path / "files", sqs, ssm) | {"FILES_AUTH": "none"}
        # Only /health/live was asked so far, so that no pool has a thread yet.
        with started("api", env, tmp_path / "log") as process:
            yield process


def ingest(process: Process) -> int:
    body = json.dumps({"token": TOKEN, "data": {"email_timestream": 1}}).encode()
    return ask(process.port, "POST", "/ingest", body, Content_Type="application/json").status


def test_a_process_without_threads_is_not_alive_and_serves_again_once_there_are_some(process: Process) -> None:
    with no_threads(process.popen.pid):
        # One more than all pools together would have places for.
        assert {ingest(process) for _ in range(12)} == {503}
        assert status(f"{process.url}/arquivos") == 503
        assert status(f"{process.url}/health") == 503
        answer = ask(process.port, "GET", "/health/live")
        assert answer.status == 503
        for pool in ("aws", "readers", "probe"):
            assert f"the pool '{pool}' can't start a thread: can't start new thread" in answer.json()["detail"]
    assert status(f"{process.url}/health/live") == 200
    assert ingest(process) == 202
    assert status(f"{process.url}/arquivos") == 200
    assert status(f"{process.url}/health") == 200
