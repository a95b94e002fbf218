"""The API against its own description: Schemathesis makes up requests, right and wrong ones, and checks the answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import Aws
from tests.service.harness import TOKEN, started
from tests.service.seen import check_log

# Every phase (examples, coverage of each keyword, fuzzing, sequences of requests) and every check. What a valid request
# may meet beside success: a digest of other content, a precondition that does not hold, a range after the end.
CONFIG = """
seed = 1

[headers]
Authorization = {authorization}

[generation]
max-examples = {examples}

[[operations]]
include-operation-id = "storeFile"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

[[operations]]
include-operation-id-regex = "^(readFile|describeFile|removeFile)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "404", "412", "416"]
"""


@pytest.mark.parametrize(
    ("files_auth", "examples"),
    [
        ("token", 6),
        ("none", 1),
        pytest.param("token", 60, marks=pytest.mark.soak),
        pytest.param("none", 10, marks=pytest.mark.soak),
    ],
)
def test_schemathesis_finds_nothing(aws: Aws, queue_url: str, tmp_path: Path, files_auth: str, examples: int) -> None:
    (tmp_path / "files").mkdir()
    env = {
        **aws.env,
        "FILES_DIR": str(tmp_path / "files"),
        "FILES_AUTH": files_auth,
        "INBOX_QUEUE_URL": queue_url,
        "API_TOKEN_PARAMETER": "/test/api-token",
        "DRAIN_SECONDS": "0",
    }
    config = tmp_path / "schemathesis.toml"
    # A header holds bytes; Latin-1 is how they are written where text is asked for.
    authorization = json.dumps(f"Bearer {TOKEN}".encode().decode("latin-1"))
    config.write_text(CONFIG.format(authorization=authorization, examples=examples), encoding="utf-8")
    with started("api", env, tmp_path / "log") as server:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", "--no-color"]
        run = subprocess.run(
            [*command, "--checks", "all", f"{server.url}/openapi.json"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONWARNINGS": "default"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert server.stop() == 0
    selected = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", run.stdout)
    assert selected is not None, run.stdout
    assert selected[1] == selected[2] == selected[3]
    statuses = {line["status"] for line in check_log(server.log.read_text(), TOKEN) if "status" in line}
    # It has been at work: what was valid came through, and what was not was refused in every way.
    assert {200, 201, 202, 400, 404, 405, 415, 422} <= statuses
    assert not {status for status in statuses if status >= 500}
