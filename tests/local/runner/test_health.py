from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from local.runner.health import HealthWatch, container_probe, status_matches
from local.runner.task_definition import HealthCheck

pytestmark = pytest.mark.anyio


class Script:
    """Answers a probe from a list, whose last answer repeats. Notes each turn with the answers given until then."""

    def __init__(self, answers: Iterable[str | None]) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.turns: list[tuple[str, int]] = []

    async def probe(self) -> str | None:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]

    def changed(self, watch: HealthWatch) -> None:
        self.turns.append((watch.health, self.asked))


async def watch(answers: Iterable[str | None], start_budget: float = 0, turns: int = 1) -> Script:
    script = Script(answers)
    watch = HealthWatch(
        script.probe,
        interval=0.01,
        healthy_threshold=2,
        unhealthy_threshold=3,
        start_budget=start_budget,
        changed=script.changed,
    )
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(120):
        while len(script.turns) < turns:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return script


async def test_healthy_after_as_many_good_answers_in_a_row_as_the_threshold() -> None:
    assert (await watch([None, "bad", None, None])).turns == [("healthy", 4)]


async def test_unhealthy_after_as_many_bad_answers_in_a_row_as_the_threshold() -> None:
    answers = [None, None, "bad", "bad", None, "bad", "bad", "bad"]
    assert (await watch(answers, turns=2)).turns == [("healthy", 2), ("unhealthy", 8)]


async def test_a_start_may_take_its_whole_budget() -> None:
    began = time.monotonic()
    script = await watch(["bad"], start_budget=0.5)
    assert script.turns[0][0] == "unhealthy"
    assert script.asked > 5
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    ("matcher", "status", "matches"),
    [
        ("200", 200, True),
        ("200", 201, False),
        ("200,202", 202, True),
        ("200-299", 250, True),
        ("200-299, 404", 404, True),
    ],
)
def test_matchers(matcher: str, status: int, matches: bool) -> None:
    assert status_matches(matcher, status) is matches


async def listening() -> asyncio.Server:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return await asyncio.start_server(close, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("CMD", "python", "-c", "import os; assert os.environ['MINE'] == 'yes'"), None),
        (("CMD-SHELL", 'test "$MINE" = yes || exit 1'), None),
        (("CMD-SHELL", "echo broken; exit 4"), "health check exited 4: broken"),
        (("CMD", "python", "-c", "import time; time.sleep(60)"), "health check timed out: no answer within 1 s"),
        (("CMD", "/no/such"), "health check '/no/such' cannot be run: No such file or directory"),
    ],
)
async def test_the_check_command_runs_beside_the_task(tmp_path: Path, command: tuple[str, ...], answer: str) -> None:
    server = await listening()
    check = HealthCheck(command, timeout=1)
    environment = {"MINE": "yes", "PATH": os.environ["PATH"]}
    probe = container_probe(check, environment, tmp_path, server.sockets[0].getsockname()[1])
    assert await probe() == answer
    server.close()


async def test_no_interpreter_is_started_before_the_port_accepts(tmp_path: Path) -> None:
    server = await listening()
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    marker = tmp_path / "ran"
    check = HealthCheck(("CMD", sys.executable, "-c", f"open({str(marker)!r}, 'w')"))
    probe = container_probe(check, {}, tmp_path, port)
    assert await probe() == f"nothing listens on port {port}"
    assert not marker.exists()
