from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from bench import candidates, quota, toolchain
from bench.__main__ import ROWS
from bench.candidates import Candidates, environment_of_image


def test_the_service_is_measured_with_the_environment_of_its_image() -> None:
    found = environment_of_image()
    assert found["PYTHONUNBUFFERED"] == "1"
    assert int(found["MALLOC_MMAP_THRESHOLD_"]) > 0
    assert "PATH" not in found


def test_rows_have_names_of_their_own_and_only_known_candidates() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        assert set(row.candidates) <= set(candidates.LABELS)
        for goal in row.goals:
            assert goal.subject in row.candidates
            assert goal.against is None or goal.against in row.candidates


def test_a_revision_is_measured_wherever_the_service_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "ROOT", tmp_path)
    monkeypatch.setattr(toolchain, "LOCAL", tmp_path / "local")
    service = tmp_path / "service"
    service.mkdir()
    (tmp_path / "service/__init__.py").write_text("VERSION = 1")
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com")
    for command in (("init", "-q"), ("add", "service"), ("commit", "-qm", "one")):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (service / "__init__.py").write_text("VERSION = 2")
    both = Candidates(cast(Any, None), tmp_path / "logs", before="HEAD")
    assert (both.image / "service/__init__.py").read_text() == "VERSION = 2"
    assert (tmp_path / "local/image-before/service/__init__.py").read_text() == "VERSION = 1"
    assert both.present(("service", "nethttp")) == ["service", "nethttp", "service@before"]
    assert both.present(("worker", "plain-worker")) == ["worker", "plain-worker", "worker@before"]
    assert Candidates(cast(Any, None), tmp_path / "logs").present(("service",)) == ["service"]


def test_a_quota_gives_a_share_of_a_core_or_says_why_there_is_none() -> None:
    if (reason := quota.unavailable()) is not None:
        assert "control group" in reason
        return
    with quota.prefix(0.25) as prefix:
        shown = subprocess.run([*prefix, "cat", "/proc/self/cgroup"], capture_output=True, text=True, check=True)
    assert "/bench-" in shown.stdout
