"""Directories held open that a network file system no longer knows: looked up again, once, and the work goes on.

A handle is stale when what it stands for was removed by another client, or the server knows it by another one since
(RFC 1813, NFS3ERR_STALE). The kernel looks a path up again by itself, but it can not do so for a descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.files import ids
from service.files.parts import Parts
from service.files.store import FileStore
from service.files.sweep import sweep, sweep_and_log

CONTENT = b"file content"
FIRST = "01978a3b-2c1d-7000-8000-000000000000"
SAME_TOP = "01978b3b-2c1d-7000-8000-000000000000"


class Handles:
    """What is stale is every directory that was open when ``expire`` was last called, and everything through it."""

    def __init__(self) -> None:
        self.stale: set[int] = set()

    def expire(self) -> None:
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.fstat(int(name)).st_mode):
                    self.stale.add(int(name))

    def check(self, descriptor: object) -> None:
        if descriptor in self.stale:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def sync(self, descriptor: int) -> None:
        self.check(descriptor)
        os.fsync(descriptor)


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> Iterator[Handles]:
    found = Handles()
    closing = os.close

    def close(descriptor: int) -> None:
        found.stale.discard(descriptor)
        closing(descriptor)

    def checked(call: Callable[..., Any]) -> Callable[..., Any]:
        def checking(*args: Any, **more: Any) -> Any:
            for descriptor in (*args[:1], more.get("dir_fd"), more.get("dst_dir_fd")):
                found.check(descriptor)
            return call(*args, **more)

        return checking

    for name in ("open", "link", "unlink", "mkdir", "stat", "listdir"):
        monkeypatch.setattr(os, name, checked(getattr(os, name)))
    monkeypatch.setattr(os, "close", close)
    yield found
    found.stale.clear()


@pytest.fixture
def store(tmp_path: Path, handles: Handles) -> FileStore:
    made = FileStore(tmp_path, sync=handles.sync)
    made.prepare()
    return made


def put(store: FileStore) -> str:
    part = store.begin("text/plain")
    try:
        return part.publish([CONTENT]).file_id
    finally:
        part.discard()


def test_every_request_goes_on_with_handles_that_are_fresh(store: FileStore, handles: Handles) -> None:
    first = put(store)
    handles.expire()
    second = put(store)
    for file_id in (first, second):
        handles.expire()
        with store.open(file_id) as file:
            assert file.content == CONTENT
        handles.expire()
        assert store.describe(file_id).record.size == len(CONTENT)
    assert store.page(None, 10) == [first, second]
    handles.expire()
    store.remove(first)
    assert store.page(None, 10) == [second]


@pytest.mark.parametrize("removed", [1, 2])
def test_a_directory_that_is_made_below_one_that_another_process_has_pruned(tmp_path: Path, removed: int) -> None:
    names = iter([FIRST, SAME_TOP])

    class Given(ids.IdSource):
        def next(self, *, spread: bool = False) -> str:
            return next(names)

    store = FileStore(tmp_path, id_source=Given())
    store.prepare()
    put(store)
    shutil.rmtree(tmp_path.joinpath(*ids.directory(FIRST)[:removed]))
    assert put(store) == SAME_TOP
    assert SAME_TOP in store.page(None, 10)


def test_a_directory_that_goes_stale_before_it_is_synced_is_synced_by_a_fresh_handle(
    tmp_path: Path, handles: Handles
) -> None:
    synced: list[list[str]] = []
    once = [True]

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and any(tmp_path.glob("0*/*/*-*")) and once:
            once.clear()
            handles.expire()
        handles.sync(descriptor)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.append(os.listdir(descriptor))

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    file_id = put(store)
    assert not once
    assert synced[-1] == [file_id]
    handles.expire()
    store.remove(file_id)
    assert synced[-1] == []
    assert store.page(None, 10) == []


def test_a_name_in_a_directory_that_is_gone_is_not_reported_as_stored(tmp_path: Path, handles: Handles) -> None:
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and any(tmp_path.glob("0*/*/*-*")):
            for path in tmp_path.glob("0*"):
                path.rename(tmp_path / "elsewhere")
                path.mkdir()
            handles.expire()
        handles.sync(descriptor)

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    with pytest.raises(FileNotFoundError):
        put(store)
    assert store.page(None, 10) == []


def test_another_file_of_that_name_is_not_taken_for_the_one_stored(tmp_path: Path, handles: Handles) -> None:
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            for path in tmp_path.glob("0*/*/*-*"):
                path.unlink()
                path.touch()
                handles.expire()
        handles.sync(descriptor)

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    with pytest.raises(OSError, match="Stale"):
        put(store)


def test_a_name_is_taken_back_by_a_fresh_handle(tmp_path: Path, handles: Handles) -> None:
    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and any(tmp_path.glob("0*/*/*-*")):
            handles.expire()
            raise OSError(errno.EIO, "broken")

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    with pytest.raises(OSError, match="broken"):
        put(store)
    assert store.page(None, 10) == []


def test_a_file_whose_directory_is_pruned_while_it_is_removed_is_removed(tmp_path: Path, handles: Handles) -> None:
    gone: list[bool] = []

    def sync(descriptor: int) -> None:
        if gone:
            for path in tmp_path.glob("0*"):
                shutil.rmtree(path)
            handles.expire()
        handles.sync(descriptor)

    store = FileStore(tmp_path, sync=sync)
    store.prepare()
    file_id = put(store)
    gone.append(True)
    store.remove(file_id)
    with pytest.raises(FileNotFoundError):
        store.open(file_id)


@pytest.mark.parametrize("times", [1, 2])
def test_a_listing_looks_up_again_what_is_pruned_while_it_reads(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    file_id = put(store)
    left = [errno.ESTALE] * times
    listdir = os.listdir

    def stale(where: Any) -> list[str]:
        if left:
            raise OSError(left.pop(), "stale")
        return listdir(where)

    monkeypatch.setattr(os, "listdir", stale)
    if times == 1:
        assert store.page(None, 10) == [file_id]
    else:
        with pytest.raises(OSError, match="stale"):
            store.page(None, 10)


def test_parts_and_the_sign_of_life_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path)
    parts.prepare()
    failed: list[str] = []

    def once(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(path: Any, *args: Any, **more: Any) -> Any:
            if name not in failed and "incoming" in str(path):
                failed.append(name)
                raise OSError(errno.ESTALE, "stale")
            return call(path, *args, **more)

        return failing

    for name in ("open", "utime"):
        monkeypatch.setattr(os, name, once(name, getattr(os, name)))
    descriptor, path, _ = parts.create()
    os.close(descriptor)
    assert Path(path).exists()
    parts.beat()
    assert failed == ["open", "utime"]


def test_a_sweep_passes_over_what_another_one_removes_and_fails_where_all_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1-0", "2-0"):
        (tmp_path / "incoming" / name).mkdir(parents=True)
        (tmp_path / "incoming" / name / "1.part").touch()
    stale, code = ["2-0"], errno.ESTALE
    scandir = os.scandir

    def scan(where: Any) -> Any:
        if Path(where).name in stale:
            raise OSError(code, "stale")
        return scandir(where)

    monkeypatch.setattr(os, "scandir", scan)
    summary = sweep(tmp_path, -60, 1e12)
    assert (summary.removed_parts, summary.failed) == (1, 0)
    stale[:] = ["incoming"]
    assert sweep_and_log(tmp_path, 0) == 1
    stale[:], code = ["2-0"], errno.EIO
    assert sweep_and_log(tmp_path, 0) == 1
