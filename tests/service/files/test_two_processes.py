"""Two processes on one store: each sees at once what the other has answered, and neither harms the other."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.conftest import Aws
from tests.service.file_server import check_whole, file_env, listed, parts, sweep
from tests.service.harness import Process, started, wait_until
from tests.service.raw_http import Connection, ask


@dataclass
class Pair:
    first: Process
    second: Process
    env: dict[str, str]
    files: Path

    @property
    def ports(self) -> tuple[int, int]:
        return self.first.port, self.second.port


@pytest.fixture(scope="module")
def running(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    files = folder / "files"
    env = file_env(aws, files)
    with (
        started("api", env, folder / "first", measure=False) as first,
        started("api", env, folder / "second", measure=False) as second,
    ):
        yield Pair(first, second, env, files)
        for process in (first, second):
            assert [line for line in process.lines() if line["level"] in ("error", "warning")] == []


@pytest.fixture
def pair(running: Pair) -> Iterator[Pair]:
    """An empty store."""
    yield running
    with Connection(running.first.port) as connection:
        for file_id in list(listed(running.first.port)):
            assert connection.ask("DELETE", f"/arquivos/{file_id}").status == 204


def _store(connection: Connection, content: bytes) -> str:
    answer = connection.ask("POST", "/arquivos", content)
    assert answer.status == 201, answer
    return str(answer.json()["id"])


def _at_once(*calls: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


def test_what_one_has_answered_the_other_serves_at_once(pair: Pair) -> None:
    def exchange(seed: int) -> None:
        chance = random.Random(seed)
        with Connection(pair.ports[seed % 2]) as writer, Connection(pair.ports[1 - seed % 2]) as reader:
            for _ in range(25):
                content = chance.randbytes(chance.choice((0, 1000, 300_000)))
                file_id = _store(writer, content)
                answer = reader.ask("GET", f"/arquivos/{file_id}")
                check_whole(answer)
                assert answer.body == content
                assert reader.ask("HEAD", f"/arquivos/{file_id}").status == 200
                assert file_id in listed(pair.ports[1 - seed % 2])

    _at_once(*(lambda seed=seed: exchange(seed) for seed in range(6)))


def test_what_one_has_deleted_is_gone_from_the_other_at_once(pair: Pair) -> None:
    with Connection(pair.first.port) as one, Connection(pair.second.port) as other:
        for turn in range(20):
            file_id = _store(one, b"x")
            assert other.ask("GET", f"/arquivos/{file_id}").status == 200
            deleting, asking = (one, other) if turn % 2 else (other, one)
            assert deleting.ask("DELETE", f"/arquivos/{file_id}").status == 204
            for method in ("GET", "HEAD", "DELETE"):
                assert asking.ask(method, f"/arquivos/{file_id}").status == 404
            assert list(listed(pair.first.port)) == list(listed(pair.second.port)) == []


def test_of_two_deletes_at_the_same_time_one_deletes(pair: Pair) -> None:
    with Connection(pair.first.port) as one, Connection(pair.second.port) as other:
        for _ in range(30):
            target = f"/arquivos/{_store(one, b'x')}"
            with ThreadPoolExecutor(2) as pool:
                answers = pool.map(Connection.ask, (one, other), ("DELETE",) * 2, (target,) * 2)
            assert sorted(answer.status for answer in answers) == [204, 404]


def test_listings_agree_while_both_take_uploads(pair: Pair) -> None:
    stored: list[str] = []
    writing = threading.Event()
    writing.set()

    def write(port: int) -> None:
        with Connection(port) as connection:
            for _ in range(100):
                stored.append(_store(connection, b"x"))

    def read(port: int) -> None:
        while writing.is_set():
            before = list(stored)
            found = list(listed(port, limit=37))
            assert found == sorted(set(found))
            assert set(before) <= set(found), "answered before the listing began, and not in it"

    def write_all() -> None:
        try:
            _at_once(*(lambda port=port: write(port) for port in pair.ports * 2))
        finally:
            writing.clear()

    _at_once(write_all, *(lambda port=port: read(port) for port in pair.ports))
    assert list(listed(pair.first.port)) == list(listed(pair.second.port)) == sorted(stored)


def test_a_page_at_a_time_what_exists_throughout_appears_exactly_once(pair: Pair) -> None:
    """Between its neighbours files are stored and deleted all the time, those that a cursor stands on included."""
    with Connection(pair.first.port) as one, Connection(pair.second.port) as other:
        mixed = [_store(connection, b"x") for _ in range(60) for connection in (one, other)]
    lasting, doomed = mixed[::2], mixed[1::2]
    random.Random(4).shuffle(doomed)
    paging = threading.Event()
    paging.set()

    def churn(port: int, old: list[str]) -> None:
        with Connection(port) as connection:
            while paging.is_set():
                new = [_store(connection, b"y") for _ in range(3)]
                for file_id in new + [old.pop() for _ in range(min(2, len(old)))]:
                    assert connection.ask("DELETE", f"/arquivos/{file_id}").status == 204

    def page() -> None:
        try:
            for turn in range(40):
                found = list(listed(pair.ports[turn % 2], limit=1 + turn % 7))
                assert found == sorted(set(found))
                assert [file_id for file_id in found if file_id in lasting] == lasting
        finally:
            paging.clear()

    _at_once(page, lambda: churn(pair.first.port, doomed[:30]), lambda: churn(pair.second.port, doomed[30:]))


def test_sweeps_at_the_same_time_take_what_is_abandoned_and_nothing_else(pair: Pair) -> None:
    abandoned = [pair.files / "incoming" / f"{number}-gone" / "1.part" for number in range(40)]
    for part in abandoned:
        part.parent.mkdir()
        part.write_bytes(b"x" * 1000)
        os.utime(part, (0, 0))
        os.utime(part.parent, (0, 0))
    content = random.Random(4).randbytes(4_000_001)  # so much that a part of it is written before the last byte
    with Connection(pair.first.port) as slow:
        slow.send(b"POST /arquivos HTTP/1.1\r\nHost: x\r\nContent-Length: 4000001\r\n\r\n" + content[:-1])
        wait_until(lambda: len(parts(pair.files)) == len(abandoned) + 1)
        stored: list[str] = []

        def write() -> None:
            with Connection(pair.second.port) as connection:
                stored.extend(_store(connection, b"x" * 1000) for _ in range(50))

        _at_once(write, lambda: sweep(pair.env, min_age=3600), lambda: sweep(pair.env, min_age=3600))
        assert not any(part.exists() for part in abandoned)
        slow.send(content[-1:])
        answer = slow.read()
        assert answer.status == 201
    check_whole(ask(pair.second.port, "GET", answer.headers["location"]))
    assert set(listed(pair.first.port)) == {*stored, answer.json()["id"]}
