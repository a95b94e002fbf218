from __future__ import annotations

from pathlib import Path

import pytest

from bench import callgrind
from bench.client import LoadFailed
from bench.figures import Measured, judge
from bench.rows import instructions


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "counts.json"
    monkeypatch.setattr(instructions, "KEPT", file)
    return file


def counted(figures: dict[str, float]) -> dict[str, Measured]:
    return {
        row.name: Measured(row.name, "", 1, {}, {row.candidates[0]: [figures]} if figures else {})
        for row in instructions.ROWS
    }


def test_what_was_counted_is_kept_and_judged_by(kept: Path) -> None:
    assert instructions.kept_counts() == {}
    instructions.keep(counted({"instructions": 1000.4}))
    assert instructions.kept_counts() == {"upload-1k": 1000, "download-1k": 1000, "ingest": 1000, "message": 1000}
    for row in instructions.ROWS:
        [goal] = row.goals
        for ratio, state in ((goal.must - 0.01, "met"), (goal.must + 0.01, "not met")):
            found = Measured(row.name, "", 1, {}, {row.candidates[0]: [{"instructions": 1.0, "by_kept": ratio}]})
            assert judge(found, goal).state == state


def test_counts_of_another_python_judge_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instructions.keep(counted({"instructions": 1000.0}))
    monkeypatch.setattr("platform.python_version", lambda: "9.9.9")
    assert instructions.kept_counts() == {}


def test_nothing_is_kept_of_a_path_that_was_not_counted(kept: Path) -> None:
    with pytest.raises(LoadFailed, match="upload-1k was not counted"):
        instructions.keep(counted({}))
    assert not kept.exists()


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for callgrind_control, whose dump has what lies in ``total``."""
    program = tmp_path / "bin/callgrind_control"
    program.parent.mkdir()
    script = (
        f'#!/bin/sh\n[ "$1" != --dump ] || cp {tmp_path}/total {tmp_path}/out.$(ls {tmp_path}/out.* 2>&- | wc -l)\n'
    )
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "total"


def test_a_count_is_that_of_the_last_dump(tmp_path: Path, control: Path) -> None:
    assert callgrind.unavailable() is None
    for count in (100, 250):
        control.write_text(f"version: 1\nevents: Ir\nsummary: {count}\n\nfn=(1) f\n1 {count}\n\ntotals: {count}\n")
        callgrind.begin(1)
        assert callgrind.end(1, tmp_path / "out") == count
    control.write_text("nothing that valgrind writes")
    with pytest.raises(callgrind.CountFailed, match="no count"):
        callgrind.end(1, tmp_path / "out")
