from __future__ import annotations

import os
import sys
from pathlib import Path

from local.runner.environment import base_environment, local_command, mounted_folder, remap
from local.runner.task_definition import Mount


def test_nothing_of_the_callers_cloud_leaks_into_a_task() -> None:
    caller = {
        "PATH": "/bin",
        "HOME": "/h",
        "AWS_PROFILE": "me",
        "AWS_ACCESS_KEY_ID": "k",
        "PULUMI_HOME": "/p",
        "TOKEN": "t",
    }
    base = base_environment(caller)
    assert base["HOME"] == "/h"
    assert base["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/bin"]
    assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "PULUMI_HOME", "TOKEN"} & base.keys()
    assert base["AWS_SHARED_CREDENTIALS_FILE"] == base["AWS_CONFIG_FILE"] == base["BOTO_CONFIG"] == os.devnull
    assert base["AWS_EC2_METADATA_DISABLED"] == "true"


def test_a_path_in_the_container_is_mapped_and_nothing_else_is() -> None:
    mounts = {"/mnt": Path("/outer"), "/mnt/efs": Path("/here/files")}
    assert remap("/mnt/efs", mounts) == "/here/files"
    assert remap("/mnt/efs/a/b", mounts) == "/here/files/a/b"
    assert remap("/mnt/efs2", mounts) == "/outer/efs2"
    assert remap("/var/mnt/efs", mounts) == "/var/mnt/efs"
    assert remap("", mounts) == ""


def test_a_root_mount_maps_every_absolute_path() -> None:
    assert remap("/data/x", {"/": Path("/here")}) == "/here/data/x"


def test_a_mounted_folder_is_made_once_and_kept(tmp_path: Path) -> None:
    mount = Mount("/mnt/efs", "fs-1", "/files")
    folder = mounted_folder(tmp_path, mount)
    (folder / "kept").touch()
    assert folder == tmp_path / "efs" / "fs-1" / "files"
    assert (mounted_folder(tmp_path, mount) / "kept").exists()


def test_python_in_a_container_is_this_interpreter() -> None:
    assert local_command(["python", "-m", "service"]) == [sys.executable, "-m", "service"]
    assert local_command(["/bin/true"]) == ["/bin/true"]
