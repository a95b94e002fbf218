from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from service.files import ids, record, stored_file
from service.files.record import DamagedFile
from service.files.store import INLINE_BYTES, DigestError, FileStore, Part, PartLost, StoredFile
from service.http.conditions import ByteRange
from tests.service.harness import LIVENESS_SECONDS, wait_until

CONTENT = b"file content"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path)
    made.prepare()
    return made


def put(store: FileStore, content: bytes = CONTENT) -> str:
    part = store.begin("text/plain")
    stored = part.publish([content])
    part.discard()
    return stored.file_id


def on_disk(store: FileStore) -> list[Path]:
    """Every file but the signs of life of processes."""
    return [path for path in store.root.rglob("*") if path.is_file() and path.suffix != ".alive"]


def test_a_file_is_its_bytes_and_one_record(store: FileStore) -> None:
    file_id = put(store)
    (path,) = on_disk(store)
    assert path.relative_to(store.root).parts == (*ids.directory(file_id), file_id)
    assert path.read_bytes()[: -record.SIZE] == CONTENT
    with store.open(file_id) as file:
        assert (file.content, file.record.size, file.record.content_type) == (CONTENT, 12, "text/plain")


def test_a_file_is_synced_before_it_has_a_name_and_its_directory_after(tmp_path: Path) -> None:
    order: list[str] = []

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            order.append(f"directory with {len([name for name in path.iterdir() if name.is_file()])} files")
        else:
            status = os.fstat(descriptor)
            order.append(f"file of {status.st_size} bytes with {status.st_nlink} name")

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    put(store)
    assert order[0] == f"file of {12 + record.SIZE} bytes with 1 name"
    assert order[-1] == "directory with 1 files"
    assert set(order[1:-1]) == {"directory with 0 files"}
    order.clear()
    put(store)
    assert order == [f"file of {12 + record.SIZE} bytes with 1 name", "directory with 2 files"]


def test_nothing_is_visible_before_it_is_published(store: FileStore) -> None:
    part = store.begin("text/plain")
    part.write([b"x" * 100_000])
    assert store.page(None, 10) == []
    assert [path.parent.parent.name for path in on_disk(store)] == ["incoming"]
    part.discard()
    assert on_disk(store) == []
    with pytest.raises(PartLost):
        part.write([b"more"])


def test_a_wrong_digest_stores_nothing(store: FileStore) -> None:
    part = store.begin("text/plain")
    with pytest.raises(DigestError):
        part.publish([CONTENT], bytes(32))
    part.discard()
    assert on_disk(store) == []


def test_an_upload_given_up_while_a_thread_writes_leaves_nothing(store: FileStore) -> None:
    for _ in range(20):
        part = store.begin("text/plain")
        writing = threading.Thread(target=lambda part=part: _suppressed(part.write, [b"x" * 500_000]))
        writing.start()
        part.discard()
        writing.join()
    assert on_disk(store) == []


@pytest.mark.parametrize("step", ["write", "publish"])
def test_an_upload_given_up_while_a_step_hangs_waits_for_it_in_no_other_thread(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    hangs, go_on = threading.Event(), threading.Event()
    append = Part._append

    def hang(part: Part, *args: Any, **options: Any) -> None:
        append(part, *args, **options)
        hangs.set()
        assert go_on.wait(LIVENESS_SECONDS)

    monkeypatch.setattr(Part, "_append", hang)
    part = store.begin("text/plain")
    writing = threading.Thread(target=lambda: _suppressed(getattr(part, step), [CONTENT]))
    writing.start()
    assert hangs.wait(LIVENESS_SECONDS)
    part.abandon()
    discarding = threading.Thread(target=part.discard)
    discarding.start()
    discarding.join(LIVENESS_SECONDS)
    assert not discarding.is_alive()
    assert len(on_disk(store)) == 1
    go_on.set()
    writing.join()
    assert on_disk(store) == []


def test_a_link_that_a_network_file_system_repeats_is_one_that_worked(tmp_path: Path) -> None:
    class Repeating(ids.IdSource):
        """Between the id being drawn and the name being given comes the call whose answer is lost."""

        def next(self, *, spread: bool = False) -> str:
            file_id = super().next(spread=spread)
            (part,) = tmp_path.glob("incoming/*/*.part")
            directory = tmp_path.joinpath(*ids.directory(file_id))
            directory.mkdir(parents=True)
            (directory / file_id).hardlink_to(part)
            return file_id

    store = FileStore(tmp_path, id_source=Repeating())
    store.prepare()
    file_id = put(store, CONTENT)
    with store.open(file_id) as file:
        assert file.content == CONTENT


def test_a_name_that_is_taken_is_never_replaced(tmp_path: Path) -> None:
    class Stuck(ids.IdSource):
        def next(self, *, spread: bool = False) -> str:
            return "01978a3b-2c1d-7000-8000-000000000000"

    store = FileStore(tmp_path, id_source=Stuck())
    store.prepare()
    file_id = put(store, b"first")
    with pytest.raises(FileExistsError):
        put(store, b"second")
    with store.open(file_id) as file:
        assert file.content == b"first"


def test_uploads_at_the_same_time_use_directories_of_their_own(store: FileStore) -> None:
    parts = [store.begin("text/plain") for _ in range(5)]
    for part in parts:
        part.write([b"x"])
    assert len({path.parent for path in on_disk(store)}) == 5
    for part in parts:
        part.discard()
    put(store)
    assert len(list((store.root / "incoming").glob("*/"))) == 5
    store.close()
    assert list((store.root / "incoming").iterdir()) == []


def test_a_name_whose_directory_can_not_be_made_durable_is_taken_back(tmp_path: Path) -> None:
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and any(tmp_path.glob("0*/*/*-*")):
            raise OSError(errno.EIO, "broken")

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    with pytest.raises(OSError, match="broken"):
        put(store, CONTENT)
    assert store.page(None, 10) == []


def test_what_is_given_up_while_it_is_made_durable_never_has_a_name(tmp_path: Path) -> None:
    parts: list[Part] = []
    store = FileStore(tmp_path, sync=lambda _: parts[0].abandon())
    store.prepare()
    parts.append(store.begin("text/plain"))
    with pytest.raises(PartLost):
        parts[0].publish([CONTENT])
    assert store.page(None, 10) == []
    parts[0].discard()
    assert on_disk(store) == []


def test_what_is_stored_after_it_was_given_up_is_not_kept(store: FileStore) -> None:
    part = store.begin("text/plain")
    stored = part.publish([CONTENT])
    part.abandon()
    part.discard()
    assert store.page(None, 10) == []
    with pytest.raises(FileNotFoundError):
        store.open(stored.file_id)


def test_many_who_wait_for_one_directory_share_a_sync(tmp_path: Path) -> None:
    class Moment(ids.IdSource):
        """One directory for all, however long a busy machine takes."""

        def next(self, *, spread: bool = False) -> str:
            return super().next()

    now = time.time_ns()
    syncs: list[int] = []
    gate = threading.Event()

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            syncs.append(descriptor)
            gate.wait(10)

    gate.set()
    store = FileStore(tmp_path, id_source=Moment(lambda: now), sync=sync)
    store.prepare()
    put(store)
    syncs.clear()
    gate.clear()
    threads = [threading.Thread(target=put, args=(store,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(store.page(None, 100)) == 17)
    gate.set()
    for thread in threads:
        thread.join()
    assert len(store.page(None, 100)) == 17
    assert len(syncs) < 16


def test_a_large_file_is_read_in_spans(store: FileStore) -> None:
    content = os.urandom(INLINE_BYTES + 1000)
    with store.open(put(store, content)) as file:
        assert file.content is None
        assert file.read(ByteRange(0, 10)) == content[:10]
        assert file.read(ByteRange(INLINE_BYTES, len(content))) == content[INLINE_BYTES:]


def test_a_file_system_that_returns_less_than_was_asked_for_is_asked_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on a network does when the rest of an answer is lost; asked for that, it fails or has it."""
    content = os.urandom(INLINE_BYTES + 1000)
    pread = os.pread
    with store.open(put(store, content)) as file:
        monkeypatch.setattr(os, "pread", lambda descriptor, length, start: pread(descriptor, min(length, 1000), start))
        assert file.read(ByteRange(10, len(content))) == content[10:]


def test_a_file_that_is_cut_short_is_never_taken_for_whole(store: FileStore) -> None:
    for size in (12, INLINE_BYTES + 1000):
        file_id = put(store, os.urandom(size))
        with store.open(file_id) as open_already:
            os.truncate(store.root.joinpath(*ids.directory(file_id), file_id), size // 2)
            if size > INLINE_BYTES:
                with pytest.raises(DamagedFile, match=file_id):
                    open_already.read(ByteRange(0, size))
        for look in (store.open, store.describe):
            with pytest.raises(DamagedFile, match=file_id):
                look(file_id)


@pytest.mark.parametrize("what", ["FIFO", "directory", "link", "socket", "linked directory"])
def test_what_is_no_regular_file_is_no_stored_file(store: FileStore, what: str) -> None:
    file_id = put(store)
    path = store.root.joinpath(*ids.directory(file_id), file_id)
    other = path.rename(store.root / "other")
    with socket.socket(socket.AF_UNIX) as bound:
        if what == "FIFO":
            os.mkfifo(path)
        elif what == "directory":
            path.mkdir()
        elif what == "link":
            path.symlink_to(other)
        elif what == "socket":
            with contextlib.chdir(path.parent):  # the name of a socket must be short
                bound.bind(path.name)
        else:
            linked = path.parent.rename(store.root / "linked")
            other.rename(linked / file_id)
            path.parent.symlink_to(linked)
        # One that has not looked at the directory before.
        for look in (FileStore(store.root).open, FileStore(store.root).describe):
            with pytest.raises(FileNotFoundError):
                look(file_id)


def test_a_file_that_is_closed_while_a_thread_reads_it_reads_no_other(store: FileStore) -> None:
    first, other = (put(store, bytes([number]) * (INLINE_BYTES + 1)) for number in (1, 2))
    whole = ByteRange(0, INLINE_BYTES + 1)
    found: list[bytes] = []

    def read(file: StoredFile) -> None:
        with contextlib.suppress(OSError):
            while True:
                found.append(file.read(whole)[:1])

    for _ in range(20):
        file = store.open(first)
        reading = threading.Thread(target=read, args=(file,))
        reading.start()
        file.close()
        with store.open(other):
            reading.join()
        assert file.closed
    assert set(found) <= {b"\x01"}


def test_a_file_that_is_closed_while_a_read_hangs_waits_for_it_in_no_other_thread(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store.open(put(store, bytes(INLINE_BYTES + 1)))
    hangs, go_on = threading.Event(), threading.Event()
    found: list[bytes] = []

    def hang(descriptor: int, start: int, length: int) -> bytes:
        hangs.set()
        assert go_on.wait(LIVENESS_SECONDS)
        return os.pread(descriptor, length, start)

    monkeypatch.setattr("service.files.stored_file._read", hang)
    reading = threading.Thread(target=lambda: found.append(file.read(ByteRange(0, 3))))
    reading.start()
    assert hangs.wait(LIVENESS_SECONDS)
    closing = threading.Thread(target=file.close)
    closing.start()
    closing.join(LIVENESS_SECONDS)
    assert not closing.is_alive() and not file.closed
    go_on.set()
    reading.join()
    assert file.closed and found == [bytes(3)]


def test_two_stores_on_one_directory_agree(store: FileStore) -> None:
    other = FileStore(store.root)
    other.prepare()
    names = [put(store), put(other), put(store), put(other)]
    assert store.page(None, 10) == other.page(None, 10) == sorted(names)
    other.remove(names[0])
    with pytest.raises(FileNotFoundError):
        store.open(names[0])


def test_threads_storing_at_once_lose_nothing(store: FileStore) -> None:
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.extend(put(store) for _ in range(50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.page(None, 1000) == sorted(names)
    assert len(set(names)) == 400


def test_removing_the_last_file_of_a_past_span_removes_its_directories(tmp_path: Path) -> None:
    past = ids.IdSource(lambda: time.time_ns() - 90 * 86_400 * 10**9)
    store = FileStore(tmp_path, id_source=past)
    store.prepare()
    file_id = put(store)
    now = FileStore(tmp_path)
    now.remove(file_id)
    assert [path.name for path in tmp_path.iterdir()] == ["incoming"]


def test_removing_a_file_leaves_those_beside_it(tmp_path: Path) -> None:
    then = time.time_ns() - 90 * 86_400 * 10**9
    store = FileStore(tmp_path, id_source=ids.IdSource(lambda: then))
    store.prepare()
    first, second = put(store), put(store)
    assert ids.directory(first) == ids.directory(second)
    FileStore(tmp_path).remove(first)
    with FileStore(tmp_path).open(second) as file:
        assert file.content == CONTENT


def test_storing_survives_the_removal_of_its_directory_by_another_process(store: FileStore) -> None:
    file_id = put(store)
    store.remove(file_id)
    for steps in range(2, 0, -1):
        store.root.joinpath(*ids.directory(file_id)[:steps]).rmdir()
    assert store.page(None, 10) == []
    again = put(store)
    assert store.page(None, 10) == [again]


def test_an_upload_survives_the_sweep_of_its_empty_directory(store: FileStore) -> None:
    store.close()
    assert list((store.root / "incoming").iterdir()) == []
    assert store.page(None, 10) == []
    put(store)
    assert len(store.page(None, 10)) == 1


def test_a_root_that_is_missing_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        FileStore(tmp_path / "absent").prepare()


def _suppressed(call: object, *args: object) -> None:
    assert callable(call)
    try:
        call(*args)
    except PartLost:
        return


def test_an_upload_that_was_given_up_is_not_kept_even_if_its_part_has_gone(store: FileStore) -> None:
    part = store.begin("text/plain")
    part.publish([CONTENT])
    for path in store.root.glob("incoming/*/*.part"):
        path.unlink()
    part.abandon()
    part.discard()
    assert store.page(None, 10) == []


def test_what_can_not_be_closed_any_more_ends_nothing() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    stored_file.close(descriptor)
    stored_file.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
