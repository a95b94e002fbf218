from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.files import ids, record, verify
from service.files.store import FileStore
from service.files.stored_file import StoredFile
from service.files.sweep import sweep_and_log
from service.files.verify import Verified
from service.telemetry.metrics import Metrics
from tests.service.harness import LIVENESS_SECONDS, ROOT
from tests.service.seen import check_emf

ALL = sys.maxsize
DAY = 86_400.0
# What is read of each file that `put` makes.
EACH = 10 + record.SIZE


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path)
    made.prepare()
    return made


def put(store: FileStore, content: bytes = b"0123456789") -> str:
    part = store.begin("text/plain")
    stored = part.publish([content])
    part.discard()
    return stored.file_id


def path_of(store: FileStore, file_id: str) -> Path:
    return store.root.joinpath(*ids.directory(file_id), file_id)


def flip(path: Path, at: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    return [(line.getMessage(), line.__dict__["fields"]) for line in caplog.records if line.name == "service.verify"]


def test_files_that_are_as_they_were_stored_are_verified_whatever_their_size(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PIECE_BYTES", 4)
    sizes = (0, 1, 4, 9)
    for size in sizes:
        put(store, bytes(size))
    assert verify.verify(store.root, ALL) == Verified(4, sum(sizes) + 4 * record.SIZE)


def test_a_flipped_byte_is_found_and_named_and_the_file_stays(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    kept, damaged = put(store), put(store)
    flip(path_of(store, damaged))
    assert verify.verify(store.root, ALL) == Verified(2, 2 * EACH, damaged=1)
    ((message, fields),) = logged(caplog)
    assert message == "a stored file is damaged"
    assert fields["file"] == path_of(store, damaged)
    assert "its SHA-256 is" in fields["reason"]
    assert store.page(None, 10) == [kept, damaged]


@pytest.mark.parametrize("change", ["cut", "record"])
def test_a_file_without_its_record_is_damaged(store: FileStore, caplog: pytest.LogCaptureFixture, change: str) -> None:
    file_id = put(store)
    path = path_of(store, file_id)
    if change == "cut":
        os.truncate(path, 5)
    else:
        flip(path, 12)
    assert verify.verify(store.root, ALL).damaged == 1
    assert file_id in logged(caplog)[0][1]["reason"]


def test_a_file_that_can_not_be_read_is_counted_and_the_rest_goes_on(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, _ = put(store), put(store)
    read = StoredFile.read

    def broken(self: StoredFile, span: Any) -> bytes:
        if self.file_id == bad:
            raise OSError(errno.EIO, "broken")
        return read(self, span)

    monkeypatch.setattr(StoredFile, "read", broken)
    assert verify.verify(store.root, ALL) == Verified(2, EACH, unreadable=1)
    assert logged(caplog)[0][0] == "a stored file can't be read"
    assert sweep_and_log(store.root, DAY, ALL) == 1


def test_a_file_that_is_deleted_meanwhile_is_no_failure(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = put(store)
    monkeypatch.setattr(verify, "_from", lambda root, after: iter([file_id]))
    store.remove(file_id)
    assert verify.verify(store.root, ALL) == Verified()


def test_each_run_goes_on_where_the_one_before_ended_and_begins_again_after_the_newest(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [put(store) for _ in range(5)]
    opened: list[str] = []
    opening = FileStore.open

    def watched(self: FileStore, file_id: str, **more: Any) -> StoredFile:
        opened.append(file_id)
        return opening(self, file_id, **more)

    monkeypatch.setattr(FileStore, "open", watched)
    for _ in range(5):
        # A size that ends within the second file: that one is read to its end.
        assert verify.verify(store.root, EACH + 1) == Verified(2, 2 * EACH)
    assert opened == files * 2
    opened.clear()
    store.remove(files[0])
    assert verify.verify(store.root, ALL).files == 4
    assert opened == files[1:]


@pytest.mark.parametrize("content", ["no id", "", "\xff"])
def test_a_place_that_is_lost_is_the_beginning(store: FileStore, content: str) -> None:
    put(store)
    assert verify.verify(store.root, ALL).files == 1
    place = store.root / "incoming" / "verified"
    place.write_bytes(content.encode("latin-1"))
    assert verify.verify(store.root, 1).files == 1


def test_the_place_is_kept_while_it_goes_on(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = put(store), put(store)
    monkeypatch.setattr(verify, "KEEP_PLACE_SECONDS", 0.0)
    opening = FileStore.open

    def killed(self: FileStore, file_id: str, **more: Any) -> StoredFile:
        if file_id == second:
            raise KeyboardInterrupt
        return opening(self, file_id, **more)

    monkeypatch.setattr(FileStore, "open", killed)
    with pytest.raises(KeyboardInterrupt):
        verify.verify(store.root, ALL)
    assert (store.root / "incoming" / "verified").read_text() == first


def test_a_store_without_files_is_no_failure(tmp_path: Path) -> None:
    assert verify.verify(tmp_path, ALL) == Verified()


def test_a_sweep_counts_what_it_verified(store: FileStore) -> None:
    put(store)
    flip(path_of(store, put(store)))
    metrics = Metrics("sweep")
    assert sweep_and_log(store.root, DAY, 0, metrics) == 0
    assert metrics.lines() == []
    assert sweep_and_log(store.root, DAY, ALL, metrics) == 1
    (line,) = map(json.loads, metrics.lines())
    assert (line["VerifiedFiles"], line["VerifiedBytes"], line["DamagedFiles"]) == (2, 2 * EACH, 1)


def test_a_sweep_as_a_process_tells_of_a_flipped_byte_in_lines_metrics_and_exit_code(store: FileStore) -> None:
    damaged = path_of(store, put(store))
    flip(damaged)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1", "SWEEP_VERIFY": "10GiB"}
    command = [sys.executable, "-m", "service", "sweep"]
    done = subprocess.run(
        command, env={**env, "FILES_DIR": str(store.root)}, capture_output=True, timeout=LIVENESS_SECONDS, check=False
    )
    assert done.returncode == 1, done.stderr
    told, swept, metrics = map(json.loads, done.stdout.splitlines())
    assert (told["level"], told["message"], told["file"]) == ("error", "a stored file is damaged", str(damaged))
    assert (swept["level"], swept["message"], swept["damaged_files"], swept["failed"]) == ("error", "swept", 1, 0)
    assert (swept["verified_files"], swept["verified_bytes"]) == (1, EACH)
    check_emf(metrics)
    assert (metrics["Command"], metrics["DamagedFiles"]) == ("sweep", 1)
    assert damaged.exists()
