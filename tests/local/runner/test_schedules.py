from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.runner import RunnerError
from local.runner.balancer import Balancer
from local.runner.credentials import CredentialsEndpoint
from local.runner.host import Host
from local.runner.schedules import ScheduleKeeper
from local.runner.stack import Schedule, read_stack
from tests.local.runner.fakes import FakeCloud, FakeImages, schedule, task_definition

pytestmark = pytest.mark.anyio


@pytest.fixture
async def keeper(
    anyio_backend: str, cloud: FakeCloud, images: FakeImages, tmp_path: Path, reports: list[str]
) -> AsyncIterator[ScheduleKeeper]:
    credentials = CredentialsEndpoint(cloud)
    await credentials.start()
    keeper = ScheduleKeeper(Host(cloud, images, tmp_path, Balancer(0), credentials, reports.append))
    yield keeper
    await keeper.stop()
    await credentials.stop()


def schedules(expression: str = "rate(1 hour)", exit_code: str = "0", **outputs: Any) -> dict[str, Schedule]:
    program = f"print('swept'); raise SystemExit({exit_code})"
    definition = task_definition("sweep", container={"entryPoint": ["python", "-c", program]})
    return dict(read_stack([definition, schedule(expression, **outputs)]).schedules)


async def until(reports: list[str], count: int) -> None:
    async with asyncio.timeout(120):
        while len(reports) < count:
            await asyncio.sleep(0.02)


def words(reports: list[str]) -> list[str]:
    return [" ".join(word for index, word in enumerate(line.split()) if index != 2) for line in reports]


async def test_a_rate_without_a_start_runs_at_once_and_tells_its_exit_code(
    keeper: ScheduleKeeper, reports: list[str]
) -> None:
    keeper.follow(schedules(exit_code="3"))
    await until(reports, 1)
    assert words(reports) == ["sweep: task exited 3"]


async def test_an_unchanged_schedule_keeps_its_rhythm_and_a_changed_one_begins_anew(
    keeper: ScheduleKeeper, reports: list[str]
) -> None:
    keeper.follow(schedules())
    await until(reports, 1)
    keeper.follow(schedules())
    await asyncio.sleep(0.3)
    assert len(reports) == 1
    keeper.follow(schedules("rate(2 hours)"))
    await until(reports, 2)


async def test_at_runs_once_when_its_time_comes(keeper: ScheduleKeeper, reports: list[str]) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    keeper.follow(schedules(f"at({soon:%Y-%m-%dT%H:%M:%S})"))
    assert not reports
    await until(reports, 1)
    assert datetime.now(UTC) >= soon.replace(microsecond=0)


async def test_as_many_tasks_run_as_the_target_says(keeper: ScheduleKeeper, reports: list[str]) -> None:
    keeper.follow(schedules(target={"ecsParameters": {"taskDefinitionArn": "sweep", "taskCount": 2}}))
    await until(reports, 2)


@pytest.mark.parametrize(
    "off",
    [
        {"state": "DISABLED"},
        {"startDate": "2100-01-01T00:00:00Z"},
        {"endDate": "2020-01-01T00:00:00Z"},
        {"expression": "at(2020-01-01T00:00:00)"},
    ],
)
async def test_what_is_disabled_over_or_not_begun_does_not_run(
    keeper: ScheduleKeeper, reports: list[str], off: dict[str, str]
) -> None:
    keeper.follow(schedules(**off))
    await asyncio.sleep(0.5)
    assert not reports


async def test_a_disabled_schedule_can_be_run_by_hand(keeper: ScheduleKeeper, reports: list[str]) -> None:
    keeper.follow(schedules(state="DISABLED", exit_code="4"))
    assert await keeper.run_once("sweep") == 4
    with pytest.raises(RunnerError, match="there is no schedule 'swep'; the stack has: sweep"):
        await keeper.run_once("swep")


async def test_a_wrong_expression_is_refused_and_the_schedules_stay(keeper: ScheduleKeeper, reports: list[str]) -> None:
    keeper.follow(schedules(state="DISABLED"))
    with pytest.raises(RunnerError, match="sometimes"):
        keeper.follow(schedules("sometimes"))
    assert await keeper.run_once("sweep") == 0


async def test_stop_ends_the_tasks_that_run(keeper: ScheduleKeeper, reports: list[str], tmp_path: Path) -> None:
    keeper.follow(schedules(exit_code="__import__('time').sleep(600)"))
    async with asyncio.timeout(120):
        while not list(tmp_path.glob("tasks/*.json")):
            await asyncio.sleep(0.02)
    await keeper.stop()
    assert words(reports) == ["sweep: task exited 143"]
    assert not list(tmp_path.glob("tasks/*.json"))
