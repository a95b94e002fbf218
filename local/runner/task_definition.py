"""A task definition as the runner plays it: one container, its environment, its mounts and its health check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from local.runner.ports import RunnerError


@dataclass(frozen=True)
class HealthCheck:
    """A container health check: `command` starts with CMD or CMD-SHELL; times in seconds.

    Defaults: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
    """

    command: tuple[str, ...]
    interval: float = 30
    timeout: float = 5
    retries: int = 3
    start_period: float = 0

    @property
    def start_budget(self) -> float:
        """Seconds that a container has on ECS, from its start, until failing checks make it unhealthy."""
        return self.start_period + self.interval * self.retries


@dataclass(frozen=True)
class Mount:
    """A folder of a file system, and where the container expects it."""

    container_path: str
    file_system_id: str
    root_directory: str


@dataclass(frozen=True)
class TaskDefinition:
    """One revision of a task definition. User, read-only root, CPU and memory have no meaning for a process here."""

    arn: str
    family: str
    revision: int
    image: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    mounts: tuple[Mount, ...]
    stop_timeout: float
    health_check: HealthCheck | None
    task_role_arn: str | None
    execution_role_arn: str | None


def parse_task_definition(urn: str, outputs: Mapping[str, Any], access_points: Mapping[str, str]) -> TaskDefinition:
    """The definition in a resource's outputs; `access_points` maps their ids to their root directories.

    Raises RunnerError for more than one container, an unknown volume or a path that leaves its file system.
    """
    containers = outputs.get("containerDefinitions")
    if isinstance(containers, str):
        containers = json.loads(containers)
    if not isinstance(containers, list) or len(containers) != 1:
        count = len(containers) if isinstance(containers, list) else repr(containers)
        raise RunnerError(
            f"{urn}: containerDefinitions has {count} containers; a task is played as one process: keep one"
        )
    container = containers[0]
    volumes = {str(volume.get("name")): volume for volume in outputs.get("volumes") or []}
    return TaskDefinition(
        arn=str(outputs.get("arn") or outputs.get("id")),
        family=str(outputs.get("family")),
        revision=int(outputs.get("revision") or 1),
        image=str(container.get("image")),
        entrypoint=tuple(container.get("entryPoint") or ()),
        command=tuple(container.get("command") or ()),
        environment={str(item["name"]): str(item["value"]) for item in container.get("environment") or []},
        secrets={str(item["name"]): str(item["valueFrom"]) for item in container.get("secrets") or []},
        mounts=tuple(_mount(urn, point, volumes, access_points) for point in container.get("mountPoints") or []),
        # 30 s: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html (stopTimeout)
        stop_timeout=float(30 if container.get("stopTimeout") is None else container["stopTimeout"]),
        health_check=_health_check(container.get("healthCheck") or {}),
        task_role_arn=outputs.get("taskRoleArn") or None,
        execution_role_arn=outputs.get("executionRoleArn") or None,
    )


def _health_check(check: Mapping[str, Any]) -> HealthCheck | None:
    command = tuple(check.get("command") or ())
    if not command or command[0] == "NONE":
        return None
    return HealthCheck(
        command=command,
        interval=float(check.get("interval") or 30),
        timeout=float(check.get("timeout") or 5),
        retries=int(check.get("retries") or 3),
        start_period=float(check.get("startPeriod") or 0),
    )


def _mount(
    urn: str, point: Mapping[str, Any], volumes: Mapping[str, Mapping[str, Any]], access_points: Mapping[str, str]
) -> Mount:
    name = str(point.get("sourceVolume"))
    efs = (volumes.get(name) or {}).get("efsVolumeConfiguration")
    if not efs:
        raise RunnerError(
            f"{urn}: mount point {point.get('containerPath')!r} names the volume {name!r}, which is no EFS volume"
        )
    access_point = str((efs.get("authorizationConfig") or {}).get("accessPointId") or "")
    if access_point and access_point not in access_points:
        raise RunnerError(f"{urn}: volume {name!r} names the access point {access_point!r}, which the stack has not")
    root = access_points[access_point] if access_point else str(efs.get("rootDirectory") or "/")
    file_system = str(efs.get("fileSystemId"))
    if ".." in PurePosixPath(root).parts or file_system in ("", ".", "..", "None") or "/" in file_system:
        raise RunnerError(
            f"{urn}: volume {name!r} maps to {file_system!r} {root!r}; allowed: fs-… and a path without '..'"
        )
    return Mount(str(point["containerPath"]).rstrip("/") or "/", file_system, root)
