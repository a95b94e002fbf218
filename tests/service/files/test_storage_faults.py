"""A file system that is full, broken, stale or silent: the right answer in time, no file, and a full recovery.

The store lies on a FUSE mount that fails or hangs on request, and the process is a real one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import efs
from service.files.store import FileStore
from service.files.sweep import sweep
from tests.service.conftest import Aws
from tests.service.file_server import (
    Usage,
    assert_nothing_is_kept,
    check_whole,
    file_env,
    listed,
    names_on_disk,
    parts,
)
from tests.service.harness import LIVENESS_SECONDS, PROBLEM, Process, running_api, started, status, wait_until
from tests.service.raw_http import Answer, Connection, ask, head

_UNAVAILABLE = efs.unavailable()
pytestmark = pytest.mark.skipif(_UNAVAILABLE is not None, reason=f"no FUSE mount: {_UNAVAILABLE}")

TIMEOUT_SECONDS = 1.0
THREADS = 8
LARGE = 400_000

WRITING = ["create", "write", "flush", "fsync", "rename", "link", "fsyncdir", "mkdir"]
# A file gets its name by one of two; its directories are there already as a rule; to close what is synced can't matter.
NOT_ALWAYS = {"rename", "link", "mkdir", "fsyncdir", "flush"}
REQUESTS = ["POST", "POST large", "GET", "HEAD", "LIST", "DELETE"]


@dataclass
class Place:
    process: Process
    volume: efs.Efs
    disk: Path
    """What is under the mount, reachable while the mount is not."""
    env: dict[str, str]

    @property
    def port(self) -> int:
        return self.process.port

    def healthy(self) -> bool:
        return status(f"{self.process.url}/healthcheck") == 200

    def alive_at_once(self) -> bool:
        """Whether liveness answers sooner than a call that hangs is given up: not each time on a busy machine, but soon."""

        def at_once() -> bool:
            began = time.monotonic()
            assert ask(self.port, "GET", "/health/live").status == 200
            return time.monotonic() - began < TIMEOUT_SECONDS

        wait_until(at_once)
        return True

    def recovers(self) -> None:
        """After ``heal`` the same process does its work again."""
        wait_until(self.healthy)
        # A pool whose threads have all come back does this many at once.
        with ThreadPoolExecutor(2 * THREADS) as pool:
            answers = list(pool.map(lambda size: ask(self.port, "POST", "/arquivos", bytes(size)), range(2 * THREADS)))
        assert [answer.status for answer in answers] == [201] * 2 * THREADS
        for answer in answers:
            target = answer.headers["location"]
            check_whole(ask(self.port, "GET", target))
            assert ask(self.port, "DELETE", target).status == 204


@contextlib.contextmanager
def _place(aws: Aws, folder: Path, *, measure: bool = False) -> Iterator[Place]:
    disk, mount = folder / "disk", folder / "mount"
    with efs.mounted(disk, mount, read_ms=0, change_ms=0) as volume:
        try:
            env = file_env(
                aws,
                mount,
                FILES_TIMEOUT_SECONDS=TIMEOUT_SECONDS,
                FILES_THREADS=THREADS,
                FILES_STALL_SECONDS=LIVENESS_SECONDS,
                STOP_TIMEOUT_SECONDS=60,  # so much that even a slow machine ends sooner, if it waits for nothing
            )
            with started("api", env, folder / "log", ready="/healthcheck", measure=measure) as process:
                try:
                    yield Place(process, volume, disk, env)
                finally:
                    volume.heal()  # a process is only ever reaped when it waits for nothing
        finally:
            volume.heal()


@pytest.fixture
def own_place(aws: Aws, tmp_path: Path) -> Iterator[Place]:
    """For tests that kill the process."""
    with _place(aws, tmp_path) as place:
        yield place


@pytest.fixture(scope="module")
def shared_place(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with _place(aws, tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture
def place(shared_place: Place) -> Iterator[Place]:
    """An empty store, whose process has been through what the tests before have done to it."""
    yield shared_place
    shared_place.volume.heal()
    wait_until(shared_place.healthy)
    for file_id in list(listed(shared_place.port)):
        assert ask(shared_place.port, "DELETE", f"/arquivos/{file_id}").status == 204
    wait_until(lambda: parts(shared_place.disk) == [] and names_on_disk(shared_place.disk) == set())


def _request(port: int, what: str, file_id: str) -> Answer:
    method = {"LIST": "GET"}.get(what, what.split()[0])
    with Connection(port) as connection:
        body = bytes(LARGE) if what == "POST large" else b"content" if method == "POST" else b""
        target = "/arquivos" if what == "LIST" or method == "POST" else f"/arquivos/{file_id}"
        return connection.ask(method, target, body)


def _refusal(answer: Answer, *allowed: int) -> None:
    assert answer.status in allowed, answer
    assert answer.headers["content-type"] == PROBLEM
    if answer.body:  # HEAD has none
        assert answer.json()["status"] == answer.status
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) > 0


def _store(port: int, content: bytes = b"stored before") -> str:
    answer = ask(port, "POST", "/arquivos", content)
    assert answer.status == 201, answer
    return str(answer.json()["id"])


@pytest.mark.parametrize(("errno", "expected"), [("ENOSPC", 507), ("EDQUOT", 507), ("EIO", 503), ("ESTALE", 503)])
def test_a_failure_at_any_step_of_an_upload_is_told_and_leaves_no_file(
    place: Place, errno: efs.Errno, expected: int
) -> None:
    told: set[str] = set()
    for step in WRITING:
        for what in ("POST", "POST large"):
            place.volume.fault(errno, [step])
            answer = _request(place.port, what, "")
            place.volume.heal()
            if step in NOT_ALWAYS and answer.status == 201:
                assert ask(place.port, "DELETE", answer.headers["location"]).status == 204
                continue
            _refusal(answer, expected)
            told.add(step)
            wait_until(lambda: parts(place.disk) == [])
            assert names_on_disk(place.disk) == set(), (step, what)
            assert list(listed(place.port)) == []
    assert told & {"rename", "link"}
    place.recovers()
    assert {line["status"] for line in place.process.requests()} & {500} == set()


@pytest.mark.parametrize("errno", ["EIO", "ESTALE"])
def test_a_broken_mount_fails_every_request_readiness_and_nothing_else(place: Place, errno: efs.Errno) -> None:
    file_id = _store(place.port)
    before = Usage.of(place.process)
    place.volume.fault(errno)
    for what in REQUESTS * 3:
        _refusal(_request(place.port, what, file_id), 503)
        assert place.alive_at_once()
    wait_until(lambda: status(f"{place.process.url}/healthcheck") == 503)
    assert status(f"{place.process.url}/health") == 503
    place.volume.heal()
    wait_until(place.healthy)
    assert list(listed(place.port)) == [file_id]
    check_whole(ask(place.port, "GET", f"/arquivos/{file_id}"))
    place.recovers()
    assert_nothing_is_kept(place.process, before, threads=2 * THREADS, mib=32)
    assert 500 not in {line["status"] for line in place.process.requests()}


@pytest.mark.parametrize("errno", ["ENOSPC", "EDQUOT"])
def test_a_full_file_system_still_serves_what_is_on_it(place: Place, errno: efs.Errno) -> None:
    file_id = _store(place.port)
    place.volume.fault(errno, ["create", "write", "mkdir", "fsync", "rename", "link", "setattr"])
    for what in ("POST", "POST large"):
        _refusal(_request(place.port, what, file_id), 507)
    for what in ("GET", "HEAD", "LIST"):
        assert _request(place.port, what, file_id).status == 200
    assert place.healthy()
    assert _request(place.port, "DELETE", file_id).status == 204  # this is how there is room again
    place.volume.heal()
    place.recovers()


def test_a_mount_that_became_read_only_is_not_ready_and_still_serves_what_is_on_it(place: Place) -> None:
    file_id = _store(place.port)
    place.volume.remount(read_only=True)
    for what in ("POST", "POST large", "DELETE"):
        _refusal(_request(place.port, what, file_id), 503)
    wait_until(lambda: not place.healthy())
    with Connection(place.port) as connection:
        for target in ("/healthcheck", "/health"):
            answer = connection.ask("GET", target)
            _refusal(answer, 503)
            assert "Read-only file system" in answer.json()["detail"]
    for what in ("GET", "HEAD", "LIST"):
        assert _request(place.port, what, file_id).status == 200
    assert place.alive_at_once()
    place.volume.remount(read_only=False)
    place.recovers()
    assert 500 not in {line["status"] for line in place.process.requests()}


@pytest.mark.parametrize("errno", ["ENOSPC", "EIO", "ESTALE"])
def test_a_file_system_that_fails_now_and_then_stores_whole_files_or_nothing(place: Place, errno: efs.Errno) -> None:
    place.volume.fault(errno, WRITING, probability=0.1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda number: ask(place.port, "POST", "/arquivos", b"%d" % number * 30_000), range(150))
        )
    place.volume.heal()
    stored = {answer.json()["id"] for answer in answers if answer.status == 201}
    assert 0 < len(stored) < len(answers)
    for answer in answers:
        if answer.status != 201:
            _refusal(answer, 507 if errno == "ENOSPC" else 503)
    wait_until(lambda: parts(place.disk) == [])
    assert set(listed(place.port)) == stored == names_on_disk(place.disk)
    for file_id in stored:
        check_whole(ask(place.port, "GET", f"/arquivos/{file_id}"))


def test_a_hung_mount_is_told_in_time_and_never_takes_the_process_with_it(place: Place) -> None:
    file_id = _store(place.port)
    place.recovers()  # takes the threads and the memory that are taken once
    before = Usage.of(place.process)
    with Connection(place.port) as half_way:
        # So much that a part of it has been written, whatever is held back to be written together.
        half_way.send(head("POST", "/arquivos", 4_000_001) + bytes(4_000_000))
        wait_until(lambda: len(parts(place.disk)) == 1)
        place.volume.hang()
        # On a busy machine the mount hangs before all of it has been read, and the last byte finds no room: the answer comes
        # all the same.
        half_way.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            half_way.send(b"x")
        half_way.socket.settimeout(LIVENESS_SECONDS)
        _refusal(half_way.read(), 503)
    # Twice as many as there are threads, and then as many again.
    for _ in range(2):
        with ThreadPoolExecutor(3 * len(REQUESTS)) as pool:
            asked = [pool.submit(_request, place.port, what, file_id) for what in REQUESTS * 3]
            while not all(one.done() for one in asked):
                assert place.alive_at_once()
                time.sleep(0.05)
        for one in asked:
            _refusal(one.result(), 503)
    wait_until(lambda: status(f"{place.process.url}/healthcheck") == 503)
    assert place.alive_at_once()
    assert Usage.of(place.process).threads <= before.threads + 2 * THREADS + 2
    place.volume.heal()
    wait_until(place.healthy)
    place.recovers()
    # What was told 503 has stored nothing, and has not deleted the file after all, or has: but then it is gone whole.
    wait_until(lambda: parts(place.disk) == [])
    wait_until(lambda: names_on_disk(place.disk) <= {file_id})
    assert set(listed(place.port)) == names_on_disk(place.disk)
    assert_nothing_is_kept(place.process, before, threads=2 * THREADS, mib=32)
    assert 500 not in {line["status"] for line in place.process.requests()}


@pytest.mark.parametrize("step", ["create", "write", "flush", "fsync", "rename link", "fsyncdir", "unlink"])
def test_an_upload_that_hangs_at_one_step_is_answered_and_stores_nothing(place: Place, step: str) -> None:
    _store(place.port, b"makes the directories")
    (kept,) = listed(place.port)
    place.volume.hang(step.split())
    answer = _request(place.port, "POST", "")
    assert place.alive_at_once()
    hung = place.volume.ops().hung
    place.volume.heal()
    if answer.status == 201:
        # Not every way of storing takes this step, and for what comes after the sync nobody has to wait.
        assert hung == 0 or step in ("flush", "unlink")
        check_whole(ask(place.port, "GET", answer.headers["location"]))
        return
    _refusal(answer, 503)
    wait_until(lambda: parts(place.disk) == [] and names_on_disk(place.disk) == {kept})
    place.recovers()


def test_a_download_that_hangs_half_way_is_cut_off_and_never_taken_for_whole(place: Place) -> None:
    content = os.urandom(64 * 1024 * 1024)
    file_id = _store(place.port, content)
    before = Usage.of(place.process)
    with Connection(place.port) as connection:
        connection.send(head("GET", f"/arquivos/{file_id}"))
        received = connection.socket.recv(100_000)
        assert received.startswith(b"HTTP/1.1 200 ")
        place.volume.hang(["read"])
        with contextlib.suppress(ConnectionError):
            while piece := connection.socket.recv(1_000_000):
                received += piece
        assert len(received) < len(content)
    place.volume.heal()
    place.recovers()
    assert check_whole(ask(place.port, "GET", f"/arquivos/{file_id}"))
    assert_nothing_is_kept(place.process, before, threads=2 * THREADS, mib=64)


@pytest.fixture
def measured_place(aws: Aws, tmp_path: Path) -> Iterator[Place]:
    with _place(aws, tmp_path, measure=True) as place:
        yield place


def test_a_process_that_waits_for_a_hung_mount_still_ends_in_time(measured_place: Place) -> None:
    file_id = _store(measured_place.port)
    measured_place.volume.hang()
    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        asked = [pool.submit(_request, measured_place.port, what, file_id) for what in REQUESTS]
        wait_until(lambda: measured_place.volume.ops().hung > 0)
        measured_place.process.popen.send_signal(signal.SIGTERM)
        for one in asked:
            _refusal(one.result(), 503)
    assert measured_place.process.popen.wait(float(measured_place.env["STOP_TIMEOUT_SECONDS"])) == 0


@pytest.mark.parametrize("step", ["create", "write", "flush", "fsync", "rename link", "fsyncdir", "mkdir"])
def test_killed_while_a_step_is_under_way_the_store_holds_the_whole_file_or_nothing(
    own_place: Place, step: str
) -> None:
    content = os.urandom(LARGE)
    own_place.volume.hang(step.split())
    with Connection(own_place.port) as connection:
        connection.send(head("POST", "/arquivos", LARGE) + content)
        wait_until(lambda: own_place.volume.ops().hung > 0)
        own_place.process.popen.kill()
        own_place.volume.heal()
        assert own_place.process.popen.wait(LIVENESS_SECONDS) < 0
    # Another process would start as this one does, and take a second for it.
    with running_api(own_place.volume.mount) as again:
        found = [name.removesuffix(".txt") for name in again.client.get("/arquivos").json()["files"]]
        assert set(found) == names_on_disk(own_place.disk)
        # To wait for the close of what is synced and named already is not needed either.
        assert len(found) <= (1 if step in ("flush", "rename link", "fsyncdir") else 0)
        for file_id in found:
            assert again.client.get(f"/arquivos/{file_id}").content == content
        assert again.client.post("/arquivos", content=b"after").status_code == 201
    assert sweep(own_place.volume.mount, 0, time.time() + 1).failed == 0
    assert parts(own_place.disk) == []
    assert len(FileStore(own_place.disk).page(None, 10)) == len(found) + 1
