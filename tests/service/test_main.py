from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.__main__ import main
from tests.service.harness import ROOT, free_port, measured


@pytest.mark.parametrize("arguments", [[], ["serve"], ["api", "worker"]])
def test_a_wrong_command_line_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "python -m service api | worker | sweep | check" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["api", "worker", "sweep"])
def test_a_start_without_configuration_names_every_variable(command: str) -> None:
    env = {"PYTHONPATH": str(ROOT), "PORT": "x", **measured()}
    done = subprocess.run(
        [sys.executable, "-m", "service", command], env=env, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"service {command}: the environment is not a valid configuration:\n")
    assert "AWS_REGION is not set" in done.stderr
    assert "PORT is 'x'" in done.stderr


def test_a_sweep_as_a_process_exits_with_0(tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1", "FILES_DIR": str(tmp_path), **measured()}
    done = subprocess.run([sys.executable, "-m", "service", "sweep"], env=env, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


def test_a_check_as_a_process_exits_with_1_when_nobody_answers() -> None:
    env = {"PYTHONPATH": str(ROOT), "PORT": str(free_port()), **measured()}
    done = subprocess.run([sys.executable, "-m", "service", "check"], env=env, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no answer from 127.0.0.1" in done.stderr
