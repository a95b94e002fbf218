"""Large uploads, of which the server sees only the beginning, over real connections, under both event loops."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.files import routes, store
from service.files.routes import RECEIVE_INTO_BYTES
from service.server.connection import FIRST_BYTES
from service.server.raw_socket import PIECE_BYTES, WAKE_BYTES
from tests.service.file_server import names_on_disk, parts
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.live_api import LoopName, Served, descriptors, errors, live_api, requests
from tests.service.raw_http import Answer, Connection, ask, chunked, head

MIB = 1024 * 1024


def _digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def _check_stored(served: Served, stored: Answer, content: bytes) -> None:
    assert (stored.status, stored.json()["size"]) == (201, len(content))
    assert ask(served.port, "GET", stored.headers["location"]).body == content


def _nothing_stored(served: Served) -> None:
    assert names_on_disk(served.store.root) == set()
    wait_until(lambda: parts(served.store.root) == [])


@pytest.mark.parametrize(
    "size",
    [
        RECEIVE_INTO_BYTES,
        RECEIVE_INTO_BYTES + 1,
        RECEIVE_INTO_BYTES + FIRST_BYTES,
        RECEIVE_INTO_BYTES + WAKE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + FIRST_BYTES,
        2 * PIECE_BYTES + 1,
        9 * MIB + 7,
    ],
)
def test_an_upload_of_any_size_is_stored_byte_by_byte_and_the_connection_goes_on(served: Served, size: int) -> None:
    content = os.urandom(size)
    with Connection(served.port) as connection:
        for _ in range(2):
            stored = connection.ask("POST", "/arquivos", content, Content_Digest=_digest(content))
            assert not stored.closes
            _check_stored(served, stored, content)
        assert connection.ask("GET", stored.headers["location"]).body == content


def test_the_server_sees_only_the_beginning_of_a_large_upload(served: Served) -> None:
    assert ask(served.port, "POST", "/arquivos", os.urandom(8 * MIB)).status == 201
    assert 0 < sum(served.received) <= FIRST_BYTES


def test_bytes_received_past_the_server_are_counted_and_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert ask(served.port, "POST", "/arquivos", os.urandom(MIB)).status == 201
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", MIB) + bytes(MIB // 2))
        wait_until(lambda: len(parts(served.store.root)) == 1)
    wait_until(lambda: len(requests(caplog)) == 2)
    found = [vars(record)["fields"] for record in caplog.records if record.name == "service.request"]
    assert (found[0]["status"], found[0]["bytes_in"]) == (201, MIB)
    assert found[1]["status"] == 499
    assert found[1]["bytes_in"] <= MIB // 2


def test_uploads_and_downloads_that_are_pipelined_are_answered_in_order(served: Served) -> None:
    contents = [os.urandom(size) for size in (3 * MIB, 10, RECEIVE_INTO_BYTES + FIRST_BYTES + 1, MIB)]
    existing, existing_content = served.add(2 * MIB)
    with Connection(served.port) as connection:
        whole = b"".join(
            head("POST", "/arquivos", len(content)) + content + head("GET", existing) for content in contents
        )
        sending = threading.Thread(target=connection.send, args=(whole,))
        sending.start()
        received = connection.socket.makefile("rb")
        for content in contents:
            _check_stored(served, _read_answer(received), content)
            assert _read_answer(received).body == existing_content
        sending.join()
        received.close()


def _read_answer(received: Any) -> Answer:
    status = int(received.readline().split()[1])
    headers = {}
    while (line := received.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Answer(status, headers, received.read(int(headers["content-length"])))


def test_an_upload_that_the_client_waits_to_be_told_to_send_is_told(served: Served) -> None:
    content = os.urandom(2 * MIB)
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", len(content), Expect="100-continue"))
        assert connection.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(content)
        _check_stored(served, connection.read(), content)


def test_many_uploads_at_the_same_time_are_not_mixed_up(served: Served) -> None:
    def upload(_: int) -> None:
        with Connection(served.port) as connection:
            for size in (MIB, 300_000, 20_000):
                content = os.urandom(size)
                _check_stored(served, connection.ask("POST", "/arquivos", content), content)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(upload, range(32)))


def test_slow_uploads_hold_no_thread(serve: Callable[..., Served]) -> None:
    served = serve(files_threads=1)
    content = os.urandom(MIB)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Connection(served.port)) for _ in range(8)]
        for connection in slow:
            connection.send(head("POST", "/arquivos", MIB) + content[: MIB // 2])
        wait_until(lambda: len(parts(served.store.root)) == 8)
        for _ in range(20):
            _check_stored(served, ask(served.port, "POST", "/arquivos", content), content)
        for connection in slow:
            connection.send(content[MIB // 2 :])
            _check_stored(served, connection.read(), content)


def test_a_wrong_digest_stores_nothing_and_the_connection_goes_on(served: Served) -> None:
    content = os.urandom(3 * MIB)
    with Connection(served.port) as connection:
        refused = connection.ask("POST", "/arquivos", content, Content_Digest=_digest(b"something else"))
        assert (refused.status, refused.json()["type"]) == (400, "urn:problem:digest-mismatch")
        assert not refused.closes
        _nothing_stored(served)
        _check_stored(served, connection.ask("POST", "/arquivos", content), content)


@pytest.mark.parametrize("sent", [FIRST_BYTES, FIRST_BYTES + 1, MIB - 1])
def test_an_upload_that_stalls_is_told_so_and_stores_nothing(serve: Callable[..., Served], sent: int) -> None:
    served = serve(files_stall_seconds=0.5)
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", MIB) + bytes(sent))
        answer = connection.read()
        assert (answer.status, answer.json()["type"], answer.closes) == (408, "urn:problem:body-stalled", True)
        assert connection.socket.recv(1) == b""
    _nothing_stored(served)


@pytest.mark.parametrize("length", [1000, MIB, None])
def test_an_upload_that_trickles_for_hours_is_ended_and_stores_nothing(
    serve: Callable[..., Served], length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way it comes in: else the sweep would take its part for abandoned before it is whole."""
    monkeypatch.setattr(routes, "LONGEST_UPLOAD_SECONDS", 1.0)
    served = serve(files_stall_seconds=1.0)
    with Connection(served.port) as connection:
        coding = {"Transfer_Encoding": "chunked"} if length is None else {}
        connection.send(head("POST", "/arquivos", length, **coding))
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while not select.select([connection.socket], [], [], 0.05)[0]:
                assert time.monotonic() - began < LIVENESS_SECONDS
                connection.send(chunked(b"x") if length is None else b"x")
        answer = connection.read()
        assert (answer.status, answer.json()["type"], answer.closes) == (408, "urn:problem:body-stalled", True)
        assert "did not end within" in answer.json()["detail"]
        assert time.monotonic() - began >= 1.0
    _nothing_stored(served)


def test_a_large_upload_of_unknown_length_is_stored_byte_by_byte(served: Served) -> None:
    pieces = [os.urandom(size) for size in (1, MIB, 300_000, 7, 2 * MIB, 3)]
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked") + chunked(*pieces) + b"0\r\n\r\n")
        _check_stored(served, connection.read(), b"".join(pieces))


def test_an_upload_that_trickles_is_not_taken_for_stalled(serve: Callable[..., Served]) -> None:
    """The loop is not woken for so few bytes: they are looked for."""
    served = serve(files_stall_seconds=1.0)
    content = os.urandom(MIB)
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", MIB) + content[:-20])
        for byte in content[-20:]:
            connection.send(bytes([byte]))
            time.sleep(0.1)
        _check_stored(served, connection.read(), content)


@pytest.mark.parametrize("way", ["closed", "half-closed", "reset"])
def test_a_client_that_vanishes_in_mid_upload_is_no_error_and_leaves_nothing(
    served: Served, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert ask(served.port, "POST", "/arquivos", bytes(MIB)).status == 201
    wait_until(lambda: len(requests(caplog)) == 1)
    wait_until(lambda: parts(served.store.root) == [])
    before = descriptors()
    for number in range(12):
        connection = Connection(served.port)
        connection.send(head("POST", "/arquivos", 2 * MIB) + bytes(FIRST_BYTES + number * 150_000))
        if number % 2:
            wait_until(lambda: len(parts(served.store.root)) == 1)
        if way == "reset":
            connection.reset()
        elif way == "half-closed":
            connection.end_sending()
            with contextlib.suppress(ConnectionError):
                assert connection.socket.recv(1) == b""
        connection.socket.close()
        wait_until(lambda number=number: len(requests(caplog)) == number + 2)  # type: ignore[misc]
    wait_until(lambda: descriptors() <= before)
    wait_until(lambda: parts(served.store.root) == [])
    assert len(names_on_disk(served.store.root)) == 1
    assert errors(caplog) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ECONNABORTED])
def test_a_disk_that_fails_in_mid_upload_is_told_though_the_client_still_sends(
    served: Served, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECONNABORTED is what a file system in user space answers with whose connection was cut: no client has gone."""
    written = 0
    write_all = store._write_all

    def fail(descriptor: int, pieces: Any) -> None:
        nonlocal written
        written += sum(map(len, pieces))
        if written > MIB:
            raise OSError(number, os.strerror(number))
        write_all(descriptor, pieces)

    with monkeypatch.context() as changed, Connection(served.port) as connection:
        changed.setattr(store, "_write_all", fail)
        connection.send(head("POST", "/arquivos", 8 * MIB) + bytes(8 * MIB))
        answer = connection.read()
        assert (answer.status, answer.closes) == (507 if number == errno.ENOSPC else 503, True)
        assert connection.socket.recv(1) == b""
    _nothing_stored(served)
    _check_stored(served, ask(served.port, "POST", "/arquivos", bytes(MIB)), bytes(MIB))


@pytest.mark.parametrize("left", [1, 50_000, 60_000, 200_000])
def test_a_disk_that_fails_near_the_end_is_told_and_the_connection_ends_in_order(
    served: Served, left: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    size = 2 * MIB
    written = 0
    write_all = store._write_all

    def fail(descriptor: int, pieces: Any) -> None:
        nonlocal written
        written += sum(map(len, pieces))
        if written >= size - left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, pieces)

    with monkeypatch.context() as changed, Connection(served.port) as connection:
        changed.setattr(store, "_write_all", fail)
        connection.send(head("POST", "/arquivos", size) + bytes(size - left))
        time.sleep(0.2)  # for the failure to come before the rest; less only makes the test milder
        connection.send(bytes(left))
        answer = connection.read()
        assert (answer.status, answer.closes) == (507, True)
        assert connection.socket.recv(1) == b""
    wait_until(lambda: len(requests(caplog)) == 1)
    (fields,) = (vars(record)["fields"] for record in caplog.records if record.name == "service.request")
    assert size - left <= fields["bytes_in"] <= size
    _nothing_stored(served)


def test_a_server_that_stops_takes_an_upload_to_its_end(tmp_path: Path, loop_name: LoopName) -> None:
    content = os.urandom(4 * MIB)
    answers: list[Answer] = []
    with contextlib.ExitStack() as stack:
        with live_api(tmp_path / "files", loop_name) as served:
            connection = stack.enter_context(Connection(served.port))
            connection.send(head("POST", "/arquivos", len(content)) + content[:MIB])
            wait_until(lambda: len(parts(served.store.root)) == 1)

            def go_on() -> None:
                connection.send(content[MIB:])
                answers.append(connection.read())

            rest = threading.Timer(0.5, go_on)
            rest.start()
        rest.join()
    (stored,) = answers
    assert (stored.status, stored.closes) == (201, True)
    assert stored.json()["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_server_that_stops_does_not_wait_for_ever_for_a_client_that_does_not_send(
    tmp_path: Path, loop_name: LoopName, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as stack:
        with live_api(tmp_path / "files", loop_name) as served:
            connection = stack.enter_context(Connection(served.port))
            connection.send(head("POST", "/arquivos", MIB) + bytes(MIB // 2))
            wait_until(lambda: len(parts(served.store.root)) == 1)
        with contextlib.suppress(ConnectionError):
            assert connection.socket.recv(100)[:34] in (b"", b"HTTP/1.1 503 Service Unavailable\r\n")
    _nothing_stored(served)


def test_on_a_server_without_the_extensions_everything_passes_through_it(serve: Callable[..., Served]) -> None:
    """uvicorn's own, under the same routes."""
    served = serve(stock=True)
    content = os.urandom(3 * MIB)
    with Connection(served.port) as connection:
        stored = connection.ask("POST", "/arquivos", content, Content_Digest=_digest(content))
        _check_stored(served, stored, content)
        location = stored.headers["location"]
        assert connection.ask("GET", location, b"", Range="bytes=7-").body == content[7:]
        assert connection.ask("POST", "/arquivos", content, Content_Digest=_digest(b"else")).status == 400
    assert (sum(served.received), served.handed_over) == (2 * len(content), [])
