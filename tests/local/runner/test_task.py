from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.runner.balancer import Balancer
from local.runner.credentials import CredentialsEndpoint
from local.runner.host import Host
from local.runner.task import Task
from local.runner.task_definition import TaskDefinition, parse_task_definition
from tests.local.runner.fakes import EXECUTION_ROLE, TASK_ROLE, FakeCloud, FakeImages, task_definition

pytestmark = pytest.mark.anyio

SECRET = "arn:aws:ssm:eu-west-1:123456789012:parameter/token"


@pytest.fixture
async def host(anyio_backend: str, cloud: FakeCloud, images: FakeImages, tmp_path: Path) -> AsyncIterator[Host]:
    credentials = CredentialsEndpoint(cloud)
    await credentials.start()
    caller = {"PATH": os.environ["PATH"], "AWS_SECRET_ACCESS_KEY": "mine", "PULUMI_CONFIG_PASSPHRASE": "mine"}
    yield Host(cloud, images, tmp_path / "run", Balancer(0), credentials, print, {}, caller)
    await credentials.stop()


def definition(environment: dict[str, str] | None = None, **container: Any) -> TaskDefinition:
    volumes = [{"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/files"}}]
    found = task_definition("api", 1, environment, container, volumes=volumes)
    return parse_task_definition(found["urn"], found["outputs"], {})


async def environment_of(task: Task) -> dict[str, str]:
    """What a running task finds in its environment; it is stopped then."""
    task.start()
    async with asyncio.timeout(120):
        while "started" not in task.log_tail():
            assert not task.stopped, task.stopped
            await asyncio.sleep(0.02)
    environ = Path(f"/proc/{task.pid}/environ")
    if environ.exists():
        text = environ.read_bytes().decode()
        found = dict(item.split("=", 1) for item in text.split("\0") if item)
    else:
        pytest.skip("this machine does not show the environment of a process")
    task.stop()
    await task.finished()
    return found


async def test_finds_image_definition_and_secrets_in_its_environment_and_nothing_of_the_caller(
    host: Host, cloud: FakeCloud, tmp_path: Path
) -> None:
    cloud.parameters[SECRET] = "s3cret"
    cloud.readers[SECRET] = EXECUTION_ROLE
    mounts = [{"sourceVolume": "files", "containerPath": "/mnt/efs"}]
    variables = {"FILES_DIR": "/mnt/efs", "SUB": "/mnt/efs/a", "OTHER": "/mnt/efsx", "PORT": "8080"}
    secrets = [{"name": "TOKEN", "valueFrom": SECRET}]
    found = await environment_of(Task(host, definition(variables, mountPoints=mounts, secrets=secrets), "api"))
    files = tmp_path / "run" / "efs" / "fs-1" / "files"
    assert files.is_dir()
    assert (found["FILES_DIR"], found["SUB"], found["OTHER"]) == (str(files), str(files / "a"), "/mnt/efsx")
    assert (found["FROM_IMAGE"], found["TOKEN"]) == ("yes", "s3cret")
    assert found["PORT"] != "8080"
    assert (found["AWS_ENDPOINT_URL"], found["AWS_REGION"]) == (cloud.endpoint_url, cloud.region)
    assert not {"AWS_SECRET_ACCESS_KEY", "PULUMI_CONFIG_PASSPHRASE"} & found.keys()
    assert found["PYTHONPATH"] == str(tmp_path / "image")


async def test_its_credentials_end_with_it(host: Host) -> None:
    found = await environment_of(Task(host, definition(), "api"))
    headers = {"Authorization": found["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
    async with httpx2.AsyncClient(verify=False) as client:
        response = await client.get(found["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=headers)
    assert response.status_code == 404


async def test_reaches_its_credentials_itself(host: Host) -> None:
    program = (
        "import json, os, urllib.request as u;"
        "ask = u.Request(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI']);"
        "ask.add_header('Authorization', os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']);"
        "print(u.urlopen(ask).read().decode())"
    )
    task = Task(host, definition(entryPoint=["python", "-c", program]), "api", checked=False)
    task.start()
    assert (await task.finished()).exit_code == 0
    assert json.loads(task.log_tail())["AccessKeyId"] == f"key-of-{TASK_ROLE}"


async def test_a_secret_that_the_execution_role_may_not_read_keeps_it_from_starting(
    host: Host, cloud: FakeCloud
) -> None:
    cloud.parameters[SECRET] = "s3cret"
    cloud.readers[SECRET] = TASK_ROLE
    task = Task(host, definition(secrets=[{"name": "TOKEN", "valueFrom": SECRET}]), "api")
    task.start()
    stopped = await task.finished()
    assert stopped.exit_code is None and not stopped.asked
    assert str(stopped) == (
        f"could not be started: secret TOKEN ({SECRET}) cannot be read by {EXECUTION_ROLE}: "
        "not authorized to perform ssm:GetParameter"
    )
    assert task.pid is None


async def test_an_image_that_was_never_built_keeps_it_from_starting(host: Host) -> None:
    task = Task(host, definition(image="missing@sha256:0"), "api")
    task.start()
    assert "missing@sha256:0 was never built here" in str(await task.finished())


async def test_runs_the_command_of_its_definition_and_keeps_what_it_printed(host: Host) -> None:
    task = Task(host, definition({"EXIT_CODE": "4"}, command=["sweep", "now"]), "sweep", checked=False)
    task.start()
    stopped = await task.finished()
    assert (stopped.exit_code, str(stopped)) == (4, "exited 4")
    assert task.log_tail() == "started ['sweep', 'now']\nbad configuration"
    assert task.log == host.folder / "logs" / "sweep" / f"{task.id}.log"


async def test_a_stopped_task_ends_by_itself_and_leaves_no_record(host: Host) -> None:
    task = Task(host, definition(), "api")
    await environment_of(task)
    assert task.stopped is not None and (task.stopped.exit_code, task.stopped.asked) == (0, True)
    assert task.log_tail().endswith("stopped cleanly")
    assert not list((host.folder / "tasks").iterdir())


async def test_a_task_that_is_stopped_at_once_never_begins_or_ends(host: Host) -> None:
    task = Task(host, definition(), "api")
    task.start()
    task.stop()
    async with asyncio.timeout(120):
        assert (await task.finished()).asked


async def test_a_failing_health_check_ends_it(host: Host) -> None:
    check = {"command": ["CMD", "python", "-c", "raise SystemExit('sick')"], "interval": 0.2, "retries": 2}
    # For as long as its port may take to open on a busy machine.
    check |= {"startPeriod": 3}
    task = Task(host, definition(healthCheck=check), "api")
    task.start()
    async with asyncio.timeout(120):
        stopped = await task.finished()
    assert not stopped.asked
    assert "health check exited 1: sick" in str(stopped)


async def test_old_logs_go(host: Host) -> None:
    folder = host.folder / "logs" / "api"
    folder.mkdir(parents=True)
    for number in range(30):
        (folder / f"{number}.log").touch()
        os.utime(folder / f"{number}.log", (number, number))
    await environment_of(Task(host, definition(), "api"))
    assert len(list(folder.iterdir())) == 20
    assert not (folder / "0.log").exists()
