"""What a task's process finds in its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from local.runner.ports import LocalImage
from local.runner.task_definition import Mount, TaskDefinition

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ")


def base_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """The few variables of the caller that a task gets, with this interpreter first on its PATH.

    Nothing that could lend a task somebody's credentials: botocore asks the shared files before the container endpoint
    (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html), so these are closed.
    """
    path = [str(Path(sys.executable).parent), *filter(None, [caller.get("PATH")])]
    return {
        **{name: caller[name] for name in _PASSED_ON if name in caller},
        "PATH": os.pathsep.join(path),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "BOTO_CONFIG": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def mounted_folder(folder: Path, mount: Mount) -> Path:
    """The folder that plays the mounted part of a file system. It is made when missing, and outlives the tasks."""
    relative = PurePosixPath(mount.root_directory.lstrip("/"))
    mounted = folder / "efs" / mount.file_system_id / relative
    mounted.mkdir(parents=True, exist_ok=True)
    return mounted


def remap(value: str, mounts: Mapping[str, Path]) -> str:
    """A value that is a mount's path in the container, or a path beneath one, as the path on this machine."""
    for container_path in sorted(mounts, key=len, reverse=True):
        if value == container_path:
            return str(mounts[container_path])
        if value.startswith(container_path.rstrip("/") + "/"):
            return str(mounts[container_path] / value[len(container_path) :].lstrip("/"))
    return value


def task_environment(
    definition: TaskDefinition,
    image: LocalImage,
    *,
    base: Mapping[str, str],
    mounts: Mapping[str, Path],
    secrets: Mapping[str, str],
    port: int,
    cloud: Mapping[str, str],
) -> dict[str, str]:
    """The image's variables under the definition's, the secrets over both, and what this machine decides over all."""
    declared = {**image.environment, **{name: remap(value, mounts) for name, value in definition.environment.items()}}
    return {**base, **declared, **secrets, **cloud, "PORT": str(port), "PYTHONPATH": str(image.path)}


def local_command(arguments: Sequence[str]) -> list[str]:
    """A container's command as this machine runs it: its `python` is this interpreter."""
    first, *rest = arguments
    return [sys.executable if first in ("python", "python3") else first, *rest]
