from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from service.files.directories import Directory
from service.files.directory_sync import DirectorySync
from tests.service.harness import LIVENESS_SECONDS, wait_until


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY))


class _Sync:
    """Each call waits until it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = threading.Semaphore(0)
        self.error: OSError | None = None

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        assert self.go.acquire(timeout=LIVENESS_SECONDS)
        if self.error is not None:
            raise self.error


def _join(pool: ThreadPoolExecutor, shared: DirectorySync, directory: Directory, sync: _Sync) -> list[Future[None]]:
    """Five who came while the sync of another was under way, which has ended; that for them is under way."""
    first = pool.submit(shared, directory)
    wait_until(lambda: sync.calls == 1)
    others = [pool.submit(shared, directory) for _ in range(5)]
    sync.go.release()
    first.result(LIVENESS_SECONDS)
    wait_until(lambda: sync.calls == 2)
    return others


def test_a_sync_covers_all_who_came_before_it_began_and_none_who_came_later(directory: Directory) -> None:
    sync = _Sync()
    shared = DirectorySync(sync)
    with ThreadPoolExecutor(8) as pool:
        # What the others have changed the first one need not have seen.
        others = _join(pool, shared, directory, sync)
        assert not any(other.done() for other in others)
        sync.go.release()
        for other in others:
            other.result(LIVENESS_SECONDS)
        assert sync.calls == 2


def test_an_error_is_told_to_all_whom_it_concerns_and_to_nobody_else(directory: Directory) -> None:
    sync = _Sync()
    shared = DirectorySync(sync)
    with ThreadPoolExecutor(8) as pool:
        others = _join(pool, shared, directory, sync)
        sync.error = OSError(5, "no")
        sync.go.release()
        for other in others:
            assert other.exception(LIVENESS_SECONDS) is sync.error
        sync.error = None
        sync.go.release()
        shared(directory)


def test_directories_do_not_wait_for_each_other(tmp_path: Path, directory: Directory) -> None:
    (tmp_path / "other").mkdir()
    other = Directory(os.open(tmp_path / "other", os.O_RDONLY | os.O_DIRECTORY))
    sync = _Sync()
    shared = DirectorySync(sync)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(shared, one) for one in (directory, other)]
        wait_until(lambda: sync.calls == 2)
        sync.go.release(2)
        for one in running:
            one.result(LIVENESS_SECONDS)


def test_every_change_is_followed_by_a_sync_that_began_after_it(directory: Directory) -> None:
    changed = 0
    durable = 0

    def sync(descriptor: int) -> None:
        nonlocal durable
        seen = changed
        threading.Event().wait(0.0005)
        durable = max(durable, seen)

    shared = DirectorySync(sync)
    lock = threading.Lock()

    def change(_: int) -> bool:
        nonlocal changed
        with lock:
            changed += 1
            mine = changed
        shared(directory)
        return durable >= mine

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(change, range(2000)))
