from __future__ import annotations

from typing import Any

import pytest

from local.runner import RunnerError
from local.runner.task_definition import Mount, parse_task_definition
from tests.local.runner.fakes import task_definition


def parse(container: dict[str, Any] | None = None, **outputs: Any) -> Any:
    found = task_definition(container=container, **outputs)
    return parse_task_definition(found["urn"], found["outputs"], {"fsap-1": "/files"})


def volume(**efs: Any) -> list[dict[str, Any]]:
    return [{"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1", **efs}}]


POINT = {"mountPoints": [{"sourceVolume": "files", "containerPath": "/mnt/efs/"}]}


def test_a_mount_is_the_access_points_folder() -> None:
    access = {"authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"}}
    assert parse(POINT, volumes=volume(**access)).mounts == (Mount("/mnt/efs", "fs-1", "/files"),)


def test_a_mount_without_an_access_point_is_the_volumes_root() -> None:
    assert parse(POINT, volumes=volume(rootDirectory="/a/b")).mounts == (Mount("/mnt/efs", "fs-1", "/a/b"),)


@pytest.mark.parametrize(
    ("volumes", "complaint"),
    [
        ([], "'/mnt/efs/' names the volume 'files', which is no EFS volume"),
        (volume(authorizationConfig={"accessPointId": "fsap-2"}), "'fsap-2', which the stack has not"),
        (volume(rootDirectory="/../../etc"), r"without '\.\.'"),
        (volume(fileSystemId="../x"), r"without '\.\.'"),
    ],
)
def test_refuses_a_mount_that_leads_nowhere_or_out(volumes: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(RunnerError, match=complaint):
        parse(POINT, volumes=volumes)


def test_a_health_check_has_the_defaults_of_ecs() -> None:
    check = parse({"healthCheck": {"command": ["CMD", "true"]}}).health_check
    assert (check.interval, check.timeout, check.retries, check.start_period) == (30, 5, 3, 0)
    assert check.start_budget == 90


@pytest.mark.parametrize("check", [{"command": ["NONE"]}, {"command": []}, {}, None])
def test_no_health_check(check: dict[str, Any] | None) -> None:
    assert parse({"healthCheck": check}).health_check is None


def test_stop_timeout_is_30_seconds_unless_given_and_may_be_0() -> None:
    assert parse({"stopTimeout": None}).stop_timeout == 30
    assert parse({"stopTimeout": 0}).stop_timeout == 0


def test_refuses_a_second_container() -> None:
    with pytest.raises(RunnerError, match="2 containers; a task is played as one process"):
        parse(containerDefinitions='[{"name":"a"},{"name":"b"}]')
