"""The commands, as far as they need no engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.paths import PROJECT_ROOT, LocalPaths
from local.session_lock import SessionFailed, only_session


def local(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # Without site packages: cleaning up must not need any.
        [sys.executable, *(["-S"] if arguments == ("clean",) else []), "-m", "local", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"LOCAL_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_clean_deletes_what_the_local_stack_has_made_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    (folder / "efs" / "fs-1").mkdir(parents=True)
    (folder / "passphrase").write_text("x")
    (folder / "thesis.odt").write_text("precious")
    run = local(folder, "clean")
    assert run.returncode == 0, run.stderr
    assert [path.name for path in folder.iterdir()] == ["thesis.odt"]
    assert str(folder) in run.stdout
    (folder / "thesis.odt").unlink()
    assert local(folder, "clean").returncode == 0
    assert not folder.exists()
    assert local(folder, "clean").returncode == 0


def test_clean_is_refused_while_a_session_runs(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    with only_session(LocalPaths(folder)):
        (folder / "efs").mkdir()
        run = local(folder, "clean")
        assert run.returncode == 1
        assert "stop it first" in run.stderr
        assert (folder / "efs").is_dir()
        with pytest.raises(SessionFailed), only_session(LocalPaths(folder)):
            raise AssertionError("two sessions at once")


def test_deploy_while_up_is_starting_says_so(tmp_path: Path) -> None:
    with only_session(LocalPaths(tmp_path)):
        run = local(tmp_path, "deploy")
    assert run.returncode == 1
    assert "still starting" in run.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_named(tmp_path: Path, port: str) -> None:
    run = local(tmp_path, "up", f"--port={port}")
    assert run.returncode == 2
    assert f"{port!r} is no port" in run.stderr and "PORT=" in run.stderr


def test_another_region_than_the_deployed_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "region").write_text("eu-west-1")
    run = local(tmp_path, "up", "--port", "8079")
    assert run.returncode == 1
    assert "eu-west-1" in run.stderr and "make clean" in run.stderr
    assert "Traceback" not in run.stderr
