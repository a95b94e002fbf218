"""Services as a user of the runner sees them: tasks kept, rolled, scaled, rolled back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.runner import Runner
from tests.local.runner.fakes import api_stack, service, task_definition, until

pytestmark = pytest.mark.anyio


async def ask(runner: Runner, path: str = "/") -> httpx2.Response:
    async with httpx2.AsyncClient(verify=False, timeout=120) as client:
        return await client.get(f"http://127.0.0.1:{runner.port}{path}")


async def pids(runner: Runner) -> set[int]:
    """Of the tasks that answer."""
    return {(await ask(runner)).json()["pid"] for _ in range(6)}


@dataclass
class Load:
    """What came of downloads and uploads that were sent without a pause."""

    statuses: list[int] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def steady_load(runner: Runner, clients: int = 4) -> AsyncIterator[Load]:
    load, over = Load(), asyncio.Event()

    async def one() -> None:
        async with httpx2.AsyncClient(verify=False, timeout=120) as client:
            while not over.is_set():
                url = f"http://127.0.0.1:{runner.port}/"
                try:
                    upload = await client.post(url, content=bytes(200_000))
                    response = await client.get(url)
                except httpx2.HTTPError as error:
                    load.errors.append(repr(error))
                    continue
                load.statuses += [upload.status_code, response.status_code]
                if upload.status_code == 200 and upload.json()["size"] != 200_000:
                    load.errors.append(f"an upload arrived as {upload.json()['size']} bytes")
                if response.status_code == 200:
                    load.versions.append(response.json()["version"])

    running = [asyncio.create_task(one()) for _ in range(clients)]
    yield load
    over.set()
    await asyncio.gather(*running)


async def test_a_deployment_returns_when_every_task_is_healthy(runner: Runner, reports: list[str]) -> None:
    rollout = await runner.apply(api_stack(desiredCount=2))
    assert rollout.ok
    assert [str(status) for status in runner.status()] == ["api 2/2 healthy"]
    assert len(await pids(runner)) == 2
    assert reports == ["api: starting 2 tasks", "api 2/2 healthy"]


async def test_the_same_deployment_again_changes_nothing(runner: Runner) -> None:
    await runner.apply(api_stack(desiredCount=2))
    before = await pids(runner)
    assert (await runner.apply(api_stack(desiredCount=2))).ok
    assert await pids(runner) == before


async def test_no_request_fails_while_a_new_definition_rolls_out(runner: Runner) -> None:
    await runner.apply(api_stack(desiredCount=2))
    before = await pids(runner)
    async with steady_load(runner) as load:
        await until(lambda: "1" in load.versions)
        assert (await runner.apply(api_stack(2, desiredCount=2))).ok
        await until(lambda: load.versions[-1] == "2")
    assert not load.errors
    assert set(load.statuses) == {200}
    assert set(load.versions) == {"1", "2"}
    assert load.versions[-1] == "2"
    assert not before & await pids(runner)


async def test_a_slow_request_on_an_old_task_ends_before_the_task_does(runner: Runner, tmp_path: Path) -> None:
    await runner.apply(api_stack())
    slow = asyncio.create_task(ask(runner, f"/held?folder={tmp_path}"))
    await until((tmp_path / "asked").exists)
    deploying = asyncio.create_task(runner.apply(api_stack(2)))
    while (await ask(runner)).json()["version"] == "1":
        await asyncio.sleep(0.02)
    (tmp_path / "go").touch()
    response = await slow
    assert (response.status_code, response.text) == (200, "held")
    assert (await deploying).ok
    assert (await ask(runner)).json()["version"] == "2"


async def test_scaling_keeps_the_tasks_that_run(runner: Runner) -> None:
    await runner.apply(api_stack(desiredCount=1))
    first = await pids(runner)
    await runner.apply(api_stack(desiredCount=3))
    three = await pids(runner)
    assert len(three) == 3 and first < three
    await runner.apply(api_stack(desiredCount=1))
    one = await pids(runner)
    assert len(one) == 1 and one < three
    await runner.apply(api_stack(desiredCount=0))
    assert (await ask(runner)).status_code == 503


async def test_a_killed_task_is_replaced_and_the_others_answer(runner: Runner, reports: list[str]) -> None:
    await runner.apply(api_stack(desiredCount=2))
    victim, other = sorted(await pids(runner))
    os.kill(victim, signal.SIGKILL)
    await until(lambda: any("exited 137, restarting in 0.2 s" in line for line in reports))
    assert (await ask(runner)).json()["pid"] == other
    await until(lambda: runner.status()[0].healthy == 2)
    assert other in await pids(runner) and victim not in await pids(runner)


async def test_a_task_that_dies_within_a_request_is_a_502_and_comes_back(runner: Runner, reports: list[str]) -> None:
    await runner.apply(api_stack())
    assert (await ask(runner, "/die")).status_code == 502
    await until(lambda: "exited 3, restarting" in reports[-1])
    await until(lambda: runner.status()[0].healthy == 1)
    assert (await ask(runner)).status_code == 200


async def test_restarts_back_off(runner: Runner, reports: list[str]) -> None:
    # A shell, which has ended within the second after which a task without a health check counts as running.
    ends = task_definition("idle", container={"entryPoint": ["sh", "-c", "exit 9"]})
    rollout = await runner.apply([ends, service("idle", balanced=False, deploymentCircuitBreaker=None)])
    assert not rollout.ok
    await until(lambda: len(reports) > 5)
    delays = [float(line.rsplit(" ", 2)[1]) for line in reports if "restarting" in line]
    assert delays[:4] == [0.2, 0.4, 0.8, 1.6]


async def test_without_a_circuit_breaker_it_is_called_failed_and_tried_on(runner: Runner, tmp_path: Path) -> None:
    switch = tmp_path / "broken"
    switch.touch()
    stack = [
        task_definition("idle", container={"entryPoint": ["sh", "-c", f"test ! -e {switch} && exec sleep 600"]}),
        service("idle", balanced=False, deploymentCircuitBreaker={"enable": False}),
    ]
    assert not (await runner.apply(stack)).ok
    assert runner.status()[0].state == "failed"
    switch.unlink()
    await until(lambda: runner.status()[0].state == "steady")


async def test_a_broken_deployment_is_rolled_back_with_its_reasons_while_the_old_tasks_answer(runner: Runner) -> None:
    await runner.apply(api_stack(desiredCount=2))
    before = await pids(runner)
    async with steady_load(runner) as load:
        rollout = await runner.apply(api_stack(2, {"EXIT_CODE": "3"}, desiredCount=2))
    (failure,) = rollout.failed
    assert failure.service == "api"
    assert failure.rolled_back
    assert "failed to start or to become healthy" in failure.reason
    assert len(failure.stopped) >= 3 and all("exited 3" in stopped for stopped in failure.stopped)
    assert "bad configuration" in failure.log_tail
    assert not load.errors and set(load.statuses) == {200} and set(load.versions) == {"1"}
    assert await pids(runner) == before
    assert str(runner.status()[0]) == "api 2/2 healthy (rolled back)"


async def test_a_deployment_that_never_becomes_healthy_is_rolled_back(runner: Runner) -> None:
    # For as long as a task may take to start on a busy machine.
    patient: dict[str, Any] = {"healthCheckGracePeriodSeconds": 3}
    await runner.apply(api_stack(**patient))
    (failure,) = (await runner.apply(api_stack(2, {"HEALTH": "500"}, **patient))).failed
    assert failure.rolled_back
    assert all("GET /health answered 500" in stopped for stopped in failure.stopped)
    assert (await ask(runner)).json()["version"] == "1"


async def test_a_first_deployment_that_fails_says_so_and_the_next_one_works(runner: Runner) -> None:
    (failure,) = (await runner.apply(api_stack(1, {"EXIT_CODE": "3"}))).failed
    assert not failure.rolled_back
    assert (await ask(runner)).status_code == 503
    assert runner.status()[0].running == 0
    assert (await runner.apply(api_stack(2))).ok
    assert (await ask(runner)).json()["version"] == "2"


async def test_a_failed_deployment_can_be_tried_again_as_it_is(runner: Runner, images: Any) -> None:
    program = images.path / "service" / "__main__.py"
    good = program.read_text()
    program.write_text("raise SystemExit('broken image')")
    assert not (await runner.apply(api_stack())).ok
    program.write_text(good)
    assert (await runner.apply(api_stack())).ok


async def test_after_a_rollback_the_former_definition_is_the_deployed_one(runner: Runner) -> None:
    await runner.apply(api_stack())
    before = await pids(runner)
    assert not (await runner.apply(api_stack(2, {"EXIT_CODE": "3"}))).ok
    assert (await runner.apply(api_stack())).ok
    assert await pids(runner) == before
    assert str(runner.status()[0]) == "api 1/1 healthy"


async def test_an_unhealthy_task_is_replaced(runner: Runner, tmp_path: Path, reports: list[str]) -> None:
    marker = tmp_path / "sick"
    await runner.apply(api_stack(1, {"BREAK_FILE": str(marker)}, health={"interval": 0.2}))
    before = await pids(runner)
    marker.touch()
    await until(lambda: any("GET /health answered 503, restarting" in line for line in reports))
    marker.unlink()
    async with asyncio.timeout(120):
        while (answer := await ask(runner)).status_code != 200 or answer.json()["pid"] in before:
            await asyncio.sleep(0.02)
    assert str(runner.status()[0]) == "api 1/1 healthy"


async def test_room_below_the_desired_count_lets_an_old_task_make_way(runner: Runner) -> None:
    room: dict[str, Any] = {"deploymentMinimumHealthyPercent": 50, "deploymentMaximumPercent": 100}
    await runner.apply(api_stack(desiredCount=2, **room))
    async with steady_load(runner) as load:
        deploying = asyncio.create_task(runner.apply(api_stack(2, desiredCount=2, **room)))
        most = 0
        while not deploying.done():
            most = max(most, sum(status.healthy for status in runner.status()))
            await asyncio.sleep(0.01)
    assert (await deploying).ok
    assert most <= 2
    assert not load.errors and set(load.statuses) == {200}


async def test_no_room_to_roll_is_said_at_once(runner: Runner) -> None:
    room: dict[str, Any] = {"deploymentMinimumHealthyPercent": 100, "deploymentMaximumPercent": 100}
    assert (await runner.apply(api_stack(**room))).ok
    (failure,) = (await runner.apply(api_stack(2, **room))).failed
    assert "100 % minimum healthy and 100 % maximum of 1 task leave no room" in failure.reason
    assert (await ask(runner)).json()["version"] == "1"


async def test_a_container_health_check_counts_as_well(runner: Runner) -> None:
    check = {"command": ["CMD", "python", "-m", "service", "check"], "interval": 1, "timeout": 5, "retries": 2}
    assert (await runner.apply(api_stack(container={"healthCheck": check}))).ok
    assert (await ask(runner)).status_code == 200
