from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.service.harness import LIVENESS_SECONDS, ROOT, free_port, measured


def run(*arguments: str, **env: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the one log line of a process that ends by itself."""
    env |= {"PYTHONPATH": str(ROOT), **measured()}
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments], env=env, capture_output=True, text=True, timeout=LIVENESS_SECONDS
    )
    assert done.stderr == ""
    (line,) = map(json.loads, done.stdout.splitlines())
    assert list(line)[:4] == ["time", "level", "logger", "message"]
    return done.returncode, line


@pytest.mark.parametrize("arguments", [[], ["serve"], ["api", "worker"]])
def test_a_wrong_command_line_is_explained(arguments: list[str]) -> None:
    code, line = run(*arguments)
    assert (code, line["level"], line["message"]) == (2, "error", "exactly one command is expected")
    assert line["given"] == (" ".join(arguments) or "nothing")
    assert line["usage"] == "python -m service api | worker | sweep | check"


@pytest.mark.parametrize("command", ["api", "worker", "sweep"])
def test_a_start_without_configuration_names_every_variable(command: str) -> None:
    code, line = run(command, PORT="x")
    assert (code, line["level"], line["command"]) == (2, "error", command)
    assert line["message"] == "the environment is not a valid configuration"
    assert any("AWS_REGION is not set" in mistake for mistake in line["mistakes"])
    assert any("PORT is 'x'" in mistake for mistake in line["mistakes"])


def test_a_sweep_as_a_process_exits_with_0(tmp_path: Path) -> None:
    code, line = run("sweep", AWS_REGION="us-east-1", FILES_DIR=str(tmp_path))
    assert (code, line["level"], line["logger"], line["message"]) == (0, "info", "service.sweep", "swept")
    assert line["failed"] == 0


def test_a_check_as_a_process_exits_with_1_when_nobody_answers() -> None:
    env = {"PYTHONPATH": str(ROOT), "PORT": str(free_port()), **measured()}
    done = subprocess.run(
        [sys.executable, "-m", "service", "check"], env=env, capture_output=True, timeout=LIVENESS_SECONDS
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no answer from 127.0.0.1" in done.stderr
