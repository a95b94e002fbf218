from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from local.runner import Runner, RunnerError
from local.runner.web import bind
from tests.local.runner.fakes import (
    GROUP,
    FakeCloud,
    FakeImages,
    api_stack,
    listener,
    resource,
    schedule,
    service,
    target_group,
    task_definition,
    until,
)

pytestmark = pytest.mark.anyio


async def ask(runner: Runner, path: str = "/") -> httpx2.Response:
    async with httpx2.AsyncClient(verify=False, timeout=120) as client:
        return await client.get(f"http://127.0.0.1:{runner.port}{path}")


def make(cloud: FakeCloud, images: FakeImages, folder: Path, port: int = 0) -> Runner:
    return Runner(aws=cloud, images=images, folder=folder, port=port, report=lambda line: None)


def running(folder: Path) -> list[Path]:
    return list((folder / "tasks").glob("*.json"))


async def test_the_port_answers_503_until_a_listener_is_deployed(runner: Runner) -> None:
    response = await ask(runner)
    assert (response.status_code, response.json()["detail"]) == (503, "no service listens")


async def test_taking_the_api_away_closes_the_port_for_new_requests_and_ends_those_in_flight(
    runner: Runner, tmp_path: Path
) -> None:
    await runner.apply(api_stack())
    slow = asyncio.create_task(ask(runner, f"/held?folder={tmp_path}"))
    await until((tmp_path / "asked").exists)
    removing = asyncio.create_task(runner.apply([]))
    while (response := await ask(runner)).status_code == 200:
        await asyncio.sleep(0.02)
    assert (response.status_code, response.json()["detail"]) == (503, "no service listens")
    (tmp_path / "go").touch()
    assert (await slow).text == "held"
    assert (await removing).ok
    assert not runner.status() and not running(tmp_path / "run")
    assert (await runner.apply(api_stack())).ok
    assert (await ask(runner)).status_code == 200


async def test_replacing_a_service_keeps_the_old_one_until_the_new_one_is_healthy(runner: Runner) -> None:
    await runner.apply(api_stack())
    statuses: list[int] = []
    successor = service("api", 2, arn="arn:aws:ecs:eu-west-1:123456789012:service/cluster/api-2")
    definition = task_definition("api", 2, {"VERSION": "2"})
    deploying = asyncio.create_task(runner.apply([definition, target_group(), listener(), successor]))
    while not deploying.done():
        statuses.append((await ask(runner)).status_code)
    assert set(statuses) == {200}
    assert (await ask(runner)).json()["version"] == "2"


async def test_a_listener_moves_to_another_target_group_without_a_gap(runner: Runner) -> None:
    await runner.apply(api_stack())
    arn = GROUP + "2"
    group = target_group() | {"outputs": target_group()["outputs"] | {"arn": arn}}
    stack = [
        task_definition("api", 2, {"VERSION": "2"}),
        group,
        listener(defaultActions=[{"type": "forward", "targetGroupArn": arn}]),
        service("api", 2, loadBalancers=[{"targetGroupArn": arn}]),
    ]
    statuses: list[int] = []
    deploying = asyncio.create_task(runner.apply(stack))
    while not deploying.done():
        statuses.append((await ask(runner)).status_code)
    assert set(statuses) == {200}
    assert (await ask(runner)).json()["version"] == "2"


async def test_of_two_listeners_the_https_one_is_played(runner: Runner, reports: list[str]) -> None:
    other = resource("aws:lb/targetGroup:TargetGroup", "other", {"arn": "other"})
    plain = listener(arn="plain", defaultActions=[{"type": "forward", "targetGroupArn": "other"}])
    secure = listener(port=443, protocol="HTTPS")
    stack = [task_definition("api", 1), target_group(), other, plain, secure, service()]
    assert (await runner.apply(stack)).ok
    assert (await ask(runner)).status_code == 200
    assert "listener on port 80 (HTTP) is not played: only one is" in reports


async def test_refuses_resources_that_do_not_fit_together_and_changes_nothing(runner: Runner) -> None:
    await runner.apply(api_stack())
    for wrong in (
        [task_definition(), service()],
        [task_definition(), service(revision=7, balanced=False)],
        [task_definition("sweep"), schedule("every now and then")],
    ):
        with pytest.raises(RunnerError):
            await runner.apply(wrong)
    assert (await ask(runner)).status_code == 200


async def test_stop_lets_requests_end_and_leaves_nothing(cloud: FakeCloud, images: FakeImages, tmp_path: Path) -> None:
    runner = make(cloud, images, tmp_path)
    await runner.start()
    await runner.apply(
        [
            *api_stack(desiredCount=2),
            task_definition("idle", container={"command": ["idle"]}),
            service("idle", balanced=False),
        ]
    )
    assert len(running(tmp_path)) == 3
    slow = asyncio.create_task(ask(runner, f"/held?folder={tmp_path}"))
    await until((tmp_path / "asked").exists)
    stopping = asyncio.create_task(runner.stop())
    # It begins.
    await asyncio.sleep(0)
    (tmp_path / "go").touch()
    await stopping
    assert (await slow).text == "held"
    assert not running(tmp_path)
    with pytest.raises(httpx2.ConnectError):
        await ask(runner)


async def test_a_cancelled_stop_kills(cloud: FakeCloud, images: FakeImages, tmp_path: Path) -> None:
    runner = make(cloud, images, tmp_path)
    await runner.start()
    await runner.apply(api_stack(1, {"STUBBORN": "1"}, {"stopTimeout": 600}))
    stopping = asyncio.create_task(runner.stop())
    await asyncio.sleep(0.5)
    assert running(tmp_path)
    stopping.cancel()
    async with asyncio.timeout(120):
        await asyncio.gather(stopping, return_exceptions=True)
    assert not running(tmp_path)


async def test_a_taken_port_is_an_error_that_can_be_mended(
    cloud: FakeCloud, images: FakeImages, tmp_path: Path
) -> None:
    with bind(socket.AF_INET, "127.0.0.1", 0) as taken:
        taken.listen()
        runner = make(cloud, images, tmp_path, taken.getsockname()[1])
        with pytest.raises(RunnerError, match="is in use"):
            await runner.start()
    again = make(cloud, images, tmp_path)
    await again.start()
    await again.stop()


async def test_one_folder_has_one_runner(runner: Runner, cloud: FakeCloud, images: FakeImages, tmp_path: Path) -> None:
    second = make(cloud, images, tmp_path / "run")
    with pytest.raises(RunnerError, match="another runner uses"):
        await second.start()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from local.runner import Runner
from tests.local.runner.fakes import FakeCloud, FakeImages, api_stack
async def main():
    folder = Path(sys.argv[1])
    runner = Runner(aws=FakeCloud(), images=FakeImages(folder / "image"), folder=folder / "run", port=0, report=print)
    await runner.start()
    await runner.apply(api_stack(1, {"FORK": "1"}, desiredCount=2))
    print(runner.port, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_a_runner_that_was_killed_leaves_no_task_to_the_next_one(
    cloud: FakeCloud, images: FakeImages, tmp_path: Path
) -> None:
    """On Linux the tasks die with the runner; what they had started dies when the next runner starts."""
    root = Path(__file__).parents[3]
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(tmp_path), stdout=subprocess.PIPE, cwd=root
    )
    assert killed.stdout is not None
    async with asyncio.timeout(120):
        while not (line := await killed.stdout.readline()).strip().isdigit():
            assert line, "the runner ended"
    groups = [int(record.read_text().split(":")[1].split(",")[0]) for record in running(tmp_path / "run")]
    assert len(groups) == 2
    killed.kill()
    await killed.wait()
    successor = make(cloud, images, tmp_path / "run", int(line))
    await successor.start()
    assert not running(tmp_path / "run")
    async with asyncio.timeout(120):
        for group in groups:
            while _group_exists(group):
                await asyncio.sleep(0.02)
    await successor.stop()


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
