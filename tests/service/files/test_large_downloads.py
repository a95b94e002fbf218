"""Files sent without a copy, over real connections, under both event loops."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from service.files.downloads import INLINE_BYTES, SLICE_BYTES
from service.files.record import DamagedFile
from service.server.raw_socket import CALL_BYTES
from tests.service.file_server import check_whole, path_of
from tests.service.harness import wait_until
from tests.service.live_api import LoopName, Served, descriptors, errors, live_api, requests, sockets
from tests.service.raw_http import Answer, Connection, head

MIB = 1024 * 1024
# More than the sockets of a connection take while nobody reads.
LARGE = 24 * MIB


def _get(connection: Connection, target: str, **headers: str) -> Answer:
    return connection.ask("GET", target, b"", **headers)


@pytest.mark.parametrize(
    "size",
    [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, CALL_BYTES - 1, CALL_BYTES, CALL_BYTES + 1, SLICE_BYTES],
)
def test_a_file_of_any_size_arrives_byte_by_byte(served: Served, size: int) -> None:
    target, content = served.add(size)
    with Connection(served.port) as connection:
        assert _get(connection, target).body == content
    assert bool(served.handed_over) is (size > INLINE_BYTES)


def test_a_file_of_several_slices_arrives_byte_by_byte(served: Served) -> None:
    target, content = served.add(SLICE_BYTES + 1)
    with Connection(served.port) as connection:
        check_whole(_get(connection, target))
    assert served.handed_over == [SLICE_BYTES, 1]
    assert len(content) == SLICE_BYTES + 1


def test_a_range_arrives_byte_by_byte(served: Served) -> None:
    target, content = served.add(2 * CALL_BYTES + 5)
    last = len(content) - 1
    spans = [(0, 0), (0, last), (1, last), (last, last), (CALL_BYTES - 1, CALL_BYTES), (CALL_BYTES, last), (7, 300_000)]
    with Connection(served.port) as connection:
        for first, end in spans:
            answer = _get(connection, target, Range=f"bytes={first}-{end}")
            assert (answer.status, answer.headers["content-range"]) == (206, f"bytes {first}-{end}/{len(content)}")
            assert answer.body == content[first : end + 1]
    assert len(served.handed_over) == len(spans)


def test_head_sends_no_byte_of_the_file(served: Served) -> None:
    target, content = served.add(MIB)
    with Connection(served.port) as connection:
        answer = connection.ask("HEAD", target)
        assert (answer.headers["content-length"], answer.body) == (str(MIB), b"")
        assert _get(connection, target).body == content
    assert len(served.handed_over) == 1


def test_a_connection_is_used_again_after_a_file_and_pipelined_requests_are_answered_in_order(served: Served) -> None:
    large, small = served.add(3 * MIB), served.add(10)
    asked = [large, small, large, large, small, ("/health/live", b'{"status":"ok"}')] * 3
    with Connection(served.port) as connection:
        for target, content in asked:
            assert _get(connection, target).body == content
        sending = threading.Thread(
            target=connection.send, args=(b"".join(head("GET", target) for target, _ in asked) + head("GET", "/none"),)
        )
        sending.start()
        received = connection.socket.makefile("rb")
        for target, content in asked:
            assert _read_answer(received) == content, target
        sending.join()
        received.close()


def _read_answer(received: Any) -> bytes:
    length = 0
    while (line := received.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    found: bytes = received.read(length)
    return found


def test_a_file_waits_for_answers_that_a_slow_client_has_not_read_yet(served: Served) -> None:
    """The transport then still holds some of them, and what is sent past it would overtake them."""
    small, large = served.add(INLINE_BYTES - 1), served.add(3 * MIB)
    asked = [*[small] * (LARGE // INLINE_BYTES), large]
    with Connection(served.port) as connection:
        connection.send(b"".join(head("GET", target) for target, _ in asked))
        time.sleep(0.3)  # for the sockets to fill; less only makes the test milder
        received = connection.socket.makefile("rb")
        for target, content in asked:
            assert _read_answer(received) == content, target
        received.close()


def test_many_files_are_sent_at_the_same_time(served: Served) -> None:
    target, content = served.add(4 * MIB)
    digest = hashlib.sha256(content).hexdigest()

    def fetch(_: int) -> list[str]:
        with Connection(served.port) as connection:
            return [check_whole(_get(connection, target)) for _ in range(3)]

    with ThreadPoolExecutor(16) as pool:
        assert {one for found in pool.map(fetch, range(32)) for one in found} == {digest}


def test_clients_that_do_not_read_hold_no_thread(serve: Callable[..., Served]) -> None:
    served = serve(files_threads=1)
    target, content = served.add(LARGE)
    small, small_content = served.add(1000)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Connection(served.port)) for _ in range(8)]
        for connection in slow:
            connection.send(head("GET", target))
        wait_until(lambda: len(served.handed_over) == 8)
        for _ in range(20):
            with Connection(served.port) as connection:
                assert _get(connection, small).body == small_content
                assert _get(connection, target).body == content
        for connection in slow:
            assert connection.read("GET").body == content


@pytest.mark.parametrize("way", ["closed", "half-closed", "reset"])
def test_a_client_that_vanishes_in_mid_file_is_no_error_and_leaves_no_descriptor(
    served: Served, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    target, _ = served.add(LARGE)
    with Connection(served.port) as connection:
        _get(connection, target)
    wait_until(lambda: len(requests(caplog)) == 1)
    before = descriptors()
    for number in range(12):
        connection = Connection(served.port)
        connection.send(head("GET", target))
        connection.socket.recv(1 + number * 100_000)
        if way == "reset":
            connection.reset()
        elif way == "half-closed":
            connection.end_sending()
            while connection.socket.recv(MIB):
                pass
        connection.socket.close()
    wait_until(lambda: len(requests(caplog)) == 13)
    wait_until(lambda: descriptors() <= before)
    assert errors(caplog) == []


def test_a_file_that_is_cut_short_while_it_is_sent_ends_the_connection_and_is_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    target, _ = served.add(LARGE)
    with Connection(served.port) as connection:
        connection.send(head("GET", target))
        wait_until(lambda: len(served.handed_over) == 1)
        os.truncate(path_of(served.store.root, target.removeprefix("/arquivos/")), LARGE // 2)
        with pytest.raises((IncompleteRead, ConnectionError)):
            connection.read("GET")
    wait_until(lambda: any(record.exc_info for record in caplog.records))
    (error,) = {type(record.exc_info[1]) for record in caplog.records if record.exc_info}
    assert error is DamagedFile
    assert errors(caplog) == ["request"]


def test_connection_close_is_honoured_after_the_last_byte(served: Served) -> None:
    target, content = served.add(5 * MIB)
    with Connection(served.port) as connection:
        answer = _get(connection, target, Connection="close")
        assert (answer.closes, answer.body) == (True, content)
        assert connection.socket.recv(1) == b""


def test_an_answer_to_nonsense_comes_after_the_file_and_then_the_connection_ends(served: Served) -> None:
    target, content = served.add(LARGE)
    with Connection(served.port) as connection:
        connection.send(head("GET", target))
        wait_until(lambda: len(served.handed_over) == 1)
        connection.send(b"\x00 this is no HTTP\r\n\r\n" * 1000)
        received = connection.socket.makefile("rb")
        assert _read_answer(received) == content
        assert received.readline() == b"HTTP/1.1 400 Bad Request\r\n"
        with contextlib.suppress(ConnectionError):  # what is left unread resets the connection
            received.read()
        received.close()


def test_a_server_that_stops_sends_the_file_to_its_end(tmp_path: Path, loop_name: LoopName) -> None:
    reading: list[Answer] = []
    with contextlib.ExitStack() as stack:
        with live_api(tmp_path / "files", loop_name) as served:
            target, content = served.add(LARGE)
            connection = stack.enter_context(Connection(served.port))
            connection.send(head("GET", target))
            wait_until(lambda: len(served.handed_over) == 1)
            reader = threading.Timer(0.5, lambda: reading.append(connection.read("GET")))
            reader.start()
        reader.join()
    assert reading[0].body == content


def test_a_server_that_stops_does_not_wait_for_ever_for_a_client_that_does_not_read(
    tmp_path: Path, loop_name: LoopName
) -> None:
    before = sockets()
    with contextlib.ExitStack() as stack:
        connection = None
        with live_api(tmp_path / "files", loop_name) as served:
            target, _ = served.add(LARGE)
            connection = stack.enter_context(Connection(served.port))
            connection.send(head("GET", target))
            wait_until(lambda: len(served.handed_over) == 1)
        with pytest.raises((IncompleteRead, ConnectionError)):
            connection.read("GET")
    wait_until(lambda: sockets() <= before)
