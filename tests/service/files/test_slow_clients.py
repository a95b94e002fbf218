"""Clients that lie, stall, send too much or too little, or vanish: each gets its answer and leaves nothing behind.

Real sockets and a real process, whose descriptors, threads and memory are counted before and after.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import os
import random
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import Aws
from tests.service.file_server import (
    Usage,
    allow_descriptors,
    assert_nothing_is_kept,
    check_whole,
    file_env,
    listed,
    names_on_disk,
    parts,
    settled,
)
from tests.service.harness import LIVENESS_SECONDS, PROBLEM, Process, started, wait_until
from tests.service.raw_http import Answer, Connection, ask, chunked, head, read_answer

MOST = 4_000_000
MOST_THREADS = 64  # those that read and those that write, FILES_THREADS of each


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "files"


@pytest.fixture(scope="module")
def running(aws: Aws, files: Path) -> Iterator[Process]:
    env = file_env(aws, files, FILES_MAX_BYTES=MOST, FILES_STALL_SECONDS=1)
    with started("api", env, files.parent / "log", ready="/healthcheck", measure=False) as found:
        yield found
        assert [line for line in found.lines() if line.get("level") == "error"] == []


@pytest.fixture
def server(running: Process) -> Iterator[Process]:
    """Its store is empty; what it has logged is that of the tests before as well."""
    yield running
    for file_id in list(listed(running.port)):
        assert ask(running.port, "DELETE", f"/arquivos/{file_id}").status == 204


def _nothing_stored(server: Process, files: Path) -> None:
    assert list(listed(server.port)) == []
    assert names_on_disk(files) == set()
    wait_until(lambda: parts(files) == [])


def _problem(answer: Answer, status: int, slug: str) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, PROBLEM), answer
    content = answer.json()
    assert content["type"] == f"urn:problem:{slug}"
    assert content["status"] == status
    assert content["instance"] == answer.headers["x-request-id"]


def _logged(server: Process, request_id: str) -> list[dict[str, object]]:
    return [line for line in server.requests() if line["request_id"] == request_id]


@pytest.mark.parametrize("sent", [0, 1, 70_000, 499_999])
@pytest.mark.parametrize("way", ["half-closed", "closed", "reset"])
def test_a_truncated_body_stores_nothing_and_is_no_fault(server: Process, files: Path, sent: int, way: str) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", 500_000, X_Request_ID=f"{way}-{sent}") + bytes(sent))
        if way == "reset":
            connection.reset()
        elif way == "half-closed":
            connection.end_sending()
            with pytest.raises((http.client.HTTPException, OSError)):
                assert connection.read().status == 400
                raise ConnectionResetError
    wait_until(lambda: len(_logged(server, f"{way}-{sent}")) == 1)
    (line,) = _logged(server, f"{way}-{sent}")
    assert line["status"] in (400, 499)
    assert line["level"] == "info"
    _nothing_stored(server, files)


def test_a_chunked_body_without_its_end_stores_nothing(server: Process, files: Path) -> None:
    for sent in (b"", chunked(b"x" * 1000), chunked(b"x" * 200_000, b"y"), b"5\r\nab"):
        with Connection(server.port) as connection:
            connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked", X_Request_ID="endless") + sent)
    wait_until(lambda: len(_logged(server, "endless")) == 4)
    assert {line["status"] for line in _logged(server, "endless")} <= {400, 499}
    _nothing_stored(server, files)


def test_a_chunked_body_needs_no_length(server: Process) -> None:
    pieces = [os.urandom(size) for size in (1, 70_000, 3, 200_000)]
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked") + chunked(*pieces) + b"0\r\n\r\n")
        stored = connection.read()
        assert (stored.status, stored.json()["size"]) == (201, 270_004)
        found = check_whole(connection.ask("GET", stored.headers["location"]))
        assert found == hashlib.sha256(b"".join(pieces)).hexdigest()
        connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked") + b"0\r\nTrailer: x\r\n\r\n")
        assert connection.read().json()["size"] == 0


@pytest.mark.parametrize("size", [b"xyz", b"-1", b"ffffffffffffffffff", b"", b"5;=\x00"])
def test_a_chunk_without_a_readable_size_stores_nothing(server: Process, files: Path, size: bytes) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked"))
        connection.send(chunked(b"x" * 1000) + size + b"\r\nabcde\r\n0\r\n\r\n")
        connection.end_sending()
        answer = _answer_or_none(connection)
        assert answer is None or answer.status == 400
    _nothing_stored(server, files)


def _answer_or_none(connection: Connection) -> Answer | None:
    try:
        return connection.read()
    except (http.client.HTTPException, OSError):
        return None


def test_more_than_the_length_declared_is_not_stored(server: Process, files: Path) -> None:
    with Connection(server.port) as connection:
        request = head("POST", "/arquivos", 10, X_Request_ID="more")
        connection.send(request + b"0123456789and what no request can begin with\r\n\r\n")
        answer = _answer_or_none(connection)
        # The server may find what follows before it has answered, and then answers that it understood nothing.
        assert answer is None or answer.status in (201, 400)
    wait_until(lambda: len(_logged(server, "more")) == 1 and parts(files) == [])
    for file_id in listed(server.port):
        assert ask(server.port, "GET", f"/arquivos/{file_id}").body == b"0123456789"
    assert len(names_on_disk(files)) <= 1


@pytest.mark.parametrize(
    "length",
    [
        "-1",
        "+5",
        "1e3",
        "0x10",
        "5, 5",
        "5, 6",
        "5 5",
        "",
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "9" * 30,
        "5\r\nContent-Length: 6",
    ],
)
def test_a_length_that_is_none_is_refused(server: Process, files: Path, length: str) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", length) + b"12345")
        connection.end_sending()
        answer = _answer_or_none(connection)
        assert answer is None or answer.status in (400, 413)
    _nothing_stored(server, files)


def test_a_body_with_two_ways_to_end_is_refused(server: Process, files: Path) -> None:
    """Request smuggling: a proxy that believes one of the two would see a second request in the body."""
    for fields in ({"Transfer_Encoding": "chunked"}, {"Transfer_Encoding": "identity, chunked"}):
        with Connection(server.port) as connection:
            connection.send(head("POST", "/arquivos", 6, **fields) + b"0\r\n\r\nX")
            connection.end_sending()
            answer = _answer_or_none(connection)
            assert answer is None or answer.status in (400, 501)
    _nothing_stored(server, files)


def test_too_large_by_its_length_is_refused_before_the_body_is_sent(server: Process, files: Path) -> None:
    for length in (MOST + 1, 2**40, 2**63 - 1):
        with Connection(server.port) as connection:
            connection.send(head("POST", "/arquivos", length, Expect="100-continue"))
            _problem(connection.read(), 413, "too-large")
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", MOST + 1))
        _problem(connection.read(), 413, "too-large")
    _nothing_stored(server, files)


def test_a_client_that_waits_to_be_told_to_send_is_told(server: Process) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", 5, Expect="100-continue"))
        assert connection.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"12345")
        assert connection.read().status == 201


def test_too_large_without_a_length_is_refused_and_stores_nothing(server: Process, files: Path) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked"))
        sending = threading.Thread(target=_send_until_refused, args=(connection, b"x" * 50_000))
        sending.start()
        _problem(connection.read(), 413, "too-large")
        connection.socket.shutdown(socket.SHUT_RDWR)
        sending.join()
    _nothing_stored(server, files)


def _send_until_refused(connection: Connection, piece: bytes) -> None:
    try:
        while True:
            connection.send(chunked(piece))
    except OSError:
        return


def test_the_largest_size_allowed_is_stored(server: Process) -> None:
    stored = ask(server.port, "POST", "/arquivos", bytes(MOST))
    assert (stored.status, stored.json()["size"]) == (201, MOST)


@pytest.mark.parametrize("field", ["Content_Digest", "Repr_Digest"])
@pytest.mark.parametrize("size", [0, 5, 500_000])
def test_a_wrong_digest_is_refused_and_stores_nothing(server: Process, files: Path, field: str, size: int) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"something else").digest()).decode()
    with Connection(server.port) as connection:
        _problem(
            connection.ask("POST", "/arquivos", bytes(size), **{field: f"sha-256=:{wrong}:"}), 400, "digest-mismatch"
        )
        _nothing_stored(server, files)
        right = base64.b64encode(hashlib.sha256(bytes(size)).digest()).decode()
        assert connection.ask("POST", "/arquivos", bytes(size), **{field: f"sha-256=:{right}:"}).status == 201


@pytest.mark.parametrize("sent", [0, 1, 100_000])
def test_a_stalled_body_is_told_so_and_stores_nothing(server: Process, files: Path, sent: int) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", 500_000) + bytes(sent))
        answer = connection.read()
        _problem(answer, 408, "body-stalled")
        assert answer.closes
        assert connection.socket.recv(1) == b""
    _nothing_stored(server, files)


def test_a_slow_body_that_goes_on_is_not_taken_for_stalled(server: Process) -> None:
    with Connection(server.port) as connection:
        connection.send(head("POST", "/arquivos", 8))
        for _ in range(8):
            connection.send(b"x")
            threading.Event().wait(0.25)  # together longer than the limit of one second for a pause
        assert connection.read().status == 201


def test_clients_that_vanish_anywhere_leave_no_descriptor_thread_or_memory(server: Process, files: Path) -> None:
    stored = ask(server.port, "POST", "/arquivos", bytes(MOST))
    location = stored.headers["location"]
    chance = random.Random(4)
    upload = head("POST", "/arquivos", 400_000) + bytes(400_000)
    download = head("GET", location)
    _vanish(server, [upload, download] * 20, chance)  # what is taken once, such as threads, is taken now
    wait_until(lambda: parts(files) == [])
    before = Usage.of(server)
    _vanish(server, [upload, download] * 200, chance)
    assert_nothing_is_kept(server, before, threads=MOST_THREADS, mib=16)
    wait_until(lambda: parts(files) == [])
    for file_id in listed(server.port):
        with Connection(server.port) as connection:
            check_whole(connection.ask("GET", f"/arquivos/{file_id}"))


def _vanish(server: Process, requests: list[bytes], chance: random.Random) -> None:
    for number, request in enumerate(requests):
        connection = Connection(server.port)
        if number % 3:
            connection.send(request[: chance.randint(1, len(request))])
        else:
            connection.send(request)
            connection.socket.recv(1)
        if number % 4 >= 2:
            connection.reset()
        else:
            connection.socket.close()


@pytest.fixture(params=[100, pytest.param(1000, marks=pytest.mark.soak)])
def clients(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many that this process may connect."""
    count: int = request.param
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_descriptors(4 * count)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3 * count:
        pytest.skip(f"a process may open {limits[1]} files here; {3 * count} are needed")
    yield count
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_thousand_slow_clients_are_all_served_in_little_memory(aws: Aws, tmp_path: Path, clients: int) -> None:
    """Each stops at another place within its body; all are connected and unfinished when the memory is read."""
    files = tmp_path / "files"
    env = file_env(aws, files, FILES_STALL_SECONDS=2 * LIVENESS_SECONDS)
    # What has been sent by then is half of it on average, and more together than what is allowed.
    content = random.Random(4).randbytes(256 * 1024 if clients == 1000 else 1024 * 1024)
    with started("api", env, tmp_path / "log", measure=False) as server:
        idle = Usage.of(server)
        asyncio.run(_slow_uploads(server, content, 64, 1000))  # what is taken once is taken now
        wait_until(lambda: Usage.of(server).descriptors <= idle.descriptors)
        before = Usage.of(server)
        held = asyncio.run(_slow_uploads(server, content, clients, before.resident_mib + 32))
        assert held.descriptors >= before.descriptors + clients
        assert held.threads <= before.threads + MOST_THREADS
        assert held.resident_mib <= before.resident_mib + 32, (before, held)
        assert len(list(listed(server.port))) == clients + 64
        assert_nothing_is_kept(server, before, threads=MOST_THREADS, mib=32)
        assert parts(files) == []


async def _slow_uploads(server: Process, content: bytes, count: int, most_mib: float) -> Usage:
    chance = random.Random(4)
    digest = hashlib.sha256(content).hexdigest()
    streams = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)]
    stops = [chance.randint(0, len(content) - 1) for _ in streams]
    for (_, writer), stop in zip(streams, stops, strict=True):
        writer.write(head("POST", "/arquivos", len(content)) + content[:stop])
    for _, writer in streams:
        await writer.drain()
    await asyncio.sleep(1)  # for the server to have taken in what it takes; more only makes the test stricter
    for number, (_, writer) in enumerate(streams):
        if number % 2 and stops[number] < len(content) - 1:  # half of them trickle, half of them pause
            writer.write(content[stops[number] : stops[number] + 1])
            stops[number] += 1
    await asyncio.sleep(0.5)
    held = await asyncio.to_thread(settled, server, most_mib)
    for (_, writer), stop in zip(streams, stops, strict=True):
        writer.write(content[stop:])
    answers = await asyncio.gather(*(asyncio.wait_for(read_answer(reader), LIVENESS_SECONDS) for reader, _ in streams))
    assert [answer.status for answer in answers] == [201] * count
    assert {answer.json()["sha256"] for answer in answers} == {digest}
    for _, writer in streams:
        writer.close()
    return held


def test_one_upload_too_many_gets_503_and_the_others_are_served(aws: Aws, tmp_path: Path) -> None:
    env = file_env(aws, tmp_path / "files", FILES_MAX_UPLOADS=10, FILES_STALL_SECONDS=2 * LIVENESS_SECONDS)
    log = tmp_path / "log"
    with started("api", env, log, ready="/healthcheck", measure=False) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Connection(server.port)) for _ in range(10)]
        for connection in slow:
            connection.send(head("POST", "/arquivos", 2) + b"1")
        # Ten are counted only once the server has read their heads.
        wait_until(lambda: ask(server.port, "POST", "/arquivos", b"x").status == 503)
        for _ in range(20):
            refused = ask(server.port, "POST", "/arquivos", b"x" * 100_000)
            _problem(refused, 503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
        for connection in slow:
            connection.send(b"2")
            assert connection.read().status == 201
        assert ask(server.port, "POST", "/arquivos", b"x").status == 201


def test_clients_that_read_nothing_cost_little_memory(aws: Aws, tmp_path: Path) -> None:
    """Two hundred downloads of 16 MiB that nobody reads: sent is what a socket takes, and held a piece or two."""
    env = file_env(aws, tmp_path / "files", FILES_STALL_SECONDS=2 * LIVENESS_SECONDS)
    with started("api", env, tmp_path / "log", ready="/healthcheck", measure=False) as server:
        content = os.urandom(16 * 1024 * 1024)
        location = ask(server.port, "POST", "/arquivos", content).headers["location"]
        ask(server.port, "GET", location)
        before = Usage.of(server)
        held = _unread_downloads(server, location, content, before)
        # A piece or two each and what the server keeps for a socket, against 3,200 MiB of content.
        assert held.resident_mib <= before.resident_mib + 256, (before, held)
        wait_until(lambda: Usage.of(server).descriptors <= before.descriptors)
        before = Usage.of(server)  # the allocator keeps what it was given once; what it is given twice leaks
        _unread_downloads(server, location, content, before)
        assert_nothing_is_kept(server, before, threads=MOST_THREADS, mib=32)


def _unread_downloads(server: Process, location: str, content: bytes, before: Usage) -> Usage:
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Connection(server.port)) for _ in range(200)]
        for reader in readers:
            reader.send(head("GET", location))
        wait_until(lambda: Usage.of(server).descriptors >= before.descriptors + 390)
        threading.Event().wait(1)
        held = Usage.of(server)
        assert readers[0].read("GET").body == content
        for reader in readers[::2]:
            reader.reset()
    return held
