from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from service.files import ids
from service.files.store import FileStore
from service.files.sweep import Summary, sweep, sweep_and_log
from service.telemetry.logs import JsonFormatter

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path)
    made.prepare()
    return made


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_only_parts_that_nobody_writes_any_more_are_removed(store: FileStore) -> None:
    old, new = store.begin("x"), store.begin("x")
    old.write([b"x" * 1000])
    new.write([b"y"])
    whole = store.begin("x")
    stored = whole.publish([b"kept"])
    whole.discard()
    parts = sorted(store.root.glob("incoming/*/*.part"))
    # The other name of a stored file, as a process leaves it that is killed just then: removing it leaves the file.
    other_name = parts[0].with_name("9.part")
    other_name.hardlink_to(store.root.joinpath(*ids.directory(stored.file_id), stored.file_id))
    age(parts[0], 2 * DAY)
    age(other_name, 2 * DAY)
    summary = sweep(store.root, DAY, time.time())
    assert (summary.removed_parts, summary.kept_parts, summary.failed) == (2, 1, 0)
    assert summary.removed_bytes > 1000
    assert list(store.root.glob("incoming/*/*.part")) == [parts[1]]
    with store.open(stored.file_id) as file:
        assert file.content == b"kept"
    old.discard()
    new.discard()


def test_directories_of_processes_that_are_gone_are_removed_and_others_stay(tmp_path: Path) -> None:
    gone, alive = tmp_path / "incoming" / "1-a", tmp_path / "incoming" / "2-b"
    for directory in (gone, alive):
        directory.mkdir(parents=True)
        (directory / "1.part").touch()
    age(gone / "1.part", 2 * DAY)
    age(gone, 2 * DAY)
    summary = sweep(tmp_path, DAY, time.time())
    assert summary.removed_directories == 1
    assert list((tmp_path / "incoming").iterdir()) == [alive]


def test_nothing_to_do_is_no_failure(tmp_path: Path) -> None:
    assert sweep(tmp_path, DAY, time.time()) == Summary()


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    formatter = JsonFormatter()
    return [json.loads(formatter.format(record)) for record in caplog.records if record.name == "service.sweep"]


def test_the_summary_is_one_log_line(store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    part = store.begin("x")
    part.write([b"x"])
    age(next(store.root.glob("incoming/*/*.part")), 2 * DAY)
    with caplog.at_level(logging.INFO):
        assert sweep_and_log(store.root, DAY) == 0
    (line,) = logged(caplog)
    assert list(line)[:4] == ["time", "level", "logger", "message"]
    assert (line["level"], line["message"], line["removed_parts"], line["failed"]) == ("info", "swept", 1, 0)
    part.discard()


def test_a_store_that_is_missing_is_a_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert sweep_and_log(tmp_path / "absent", DAY) == 1
    (line,) = logged(caplog)
    assert (line["level"], line["message"]) == ("error", "sweep failed")
    assert "absent" in line["reason"]


def test_a_part_that_can_not_be_removed_is_counted_and_fails_the_sweep(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    (directory,) = (store.root / "incoming").glob("*/")
    stuck, old = directory / "1.part", directory / "2.part"
    stuck.mkdir()  # unlink refuses a directory, also for root
    old.touch()
    for path in (stuck, old):
        age(path, 2 * DAY)
    assert sweep_and_log(store.root, DAY) == 1
    part, summary = logged(caplog)
    assert (part["level"], part["part"]) == ("warning", str(stuck))
    assert (summary["level"], summary["message"], summary["failed"]) == ("error", "swept", 1)
    assert not old.exists()


@pytest.mark.parametrize("gone", ["incoming/*/", "incoming/1-a/*.part"])
def test_what_another_sweep_removes_at_the_same_time_is_no_failure(tmp_path: Path, gone: str) -> None:
    """The other one removes everything else that ``gone`` matches as soon as this one removes its first part."""
    for part in ("1-a/1.part", "1-a/2.part", "2-b/3.part"):
        path = tmp_path / "incoming" / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        age(path, 2 * DAY)
    watching = [True]

    def other(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.remove" and watching and str(arguments[0]).startswith(str(tmp_path)):
            watching.clear()
            for path in tmp_path.glob(gone):
                if path.is_dir() and path != Path(str(arguments[0])).parent:
                    shutil.rmtree(path)
                elif path.is_file() and path != Path(str(arguments[0])):
                    path.unlink()

    sys.addaudithook(other)  # stays for the rest of the run, and does no more
    summary = sweep(tmp_path, DAY, time.time())
    assert not watching
    assert (summary.failed, summary.kept_parts) == (0, 0)
    assert list(tmp_path.glob("incoming/*/*.part")) == []
