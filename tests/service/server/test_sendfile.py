"""Files sent without a copy, over real connections, under both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.files.downloads import INLINE_BYTES, SLICE_BYTES
from service.files.record import DamagedFile, Record
from service.files.store import StoredFile
from service.http.conditions import ByteRange
from service.server.peer import CALL_BYTES, VISIT_SECONDS
from service.server.protocol import HttpProtocol
from service.server.sendfile import FileBody
from service.server.transport import FileTransport, file_transport
from service.thread_pool import ThreadPool
from tests.service.file_server import check_whole, path_of
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.live_api import LoopName, Served, descriptors, errors, live_api, requests, sockets
from tests.service.raw_http import Answer, Connection, head
from tests.service.twin_transport import Twin

P = ParamSpec("P")
T = TypeVar("T")

MIB = 1024 * 1024
STALL_SECONDS = 30.0
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
    assert [len(body) for body in served.handed_over] == [SLICE_BYTES, 1]
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


def test_an_encrypted_connection_is_left_to_uvicorn(loop_name: LoopName) -> None:
    """Nothing is offered to the application there: the file has to pass through memory."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run(transport: Twin) -> None:
        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
        protocol = HttpProtocol(config, ServerState(), {})
        protocol.connection_made(transport)
        protocol.pause_writing()
        request = head("GET", "/")
        protocol.get_buffer(-1)[: len(request)] = request
        protocol.buffer_updated(len(request))
        await asyncio.sleep(0)
        assert transport.written == b""
        protocol.resume_writing()
        while b"204 No Content" not in transport.written:
            await asyncio.sleep(0)
        assert protocol.eof_received() is None
        protocol.connection_lost(None)

    with socket.socket() as plain, socket.socket() as other:
        asyncio.run(run(Twin(plain, sslcontext=ssl.create_default_context())))
        asyncio.run(run(Twin(other)))
    assert [file_transport(scope) is None for scope in scopes] == [True, False]


@dataclass
class _Pair:
    """A ``FileTransport`` over a twin, the client's end of the connection, and a file."""

    transport: FileTransport
    twin: Twin
    client: socket.socket
    path: Path
    file: StoredFile
    threads: ThreadPool


@pytest.fixture
def with_pair(tmp_path: Path) -> Callable[[Callable[[_Pair], Coroutine[Any, Any, None]]], None]:
    def run(work: Callable[[_Pair], Coroutine[Any, Any, None]]) -> None:
        path = tmp_path / "content"
        path.write_bytes(b"0123456789" * MIB)
        file = StoredFile("x", Record(10 * MIB, "", ""), os.open(path, os.O_RDONLY), None)
        threads = ThreadPool("readers", 2, bound_seconds=LIVENESS_SECONDS)
        near, client = socket.socketpair()
        near.setblocking(False)
        client.settimeout(LIVENESS_SECONDS)

        async def go() -> None:
            twin = Twin(near)
            transport = FileTransport(twin, asyncio.get_running_loop())
            await asyncio.wait_for(work(_Pair(transport, twin, client, path, file, threads)), LIVENESS_SECONDS)
            transport.lost()

        with near, client, file:
            asyncio.run(go())
            threads.close()

    return run


WithPair = Callable[[Callable[[_Pair], Coroutine[Any, Any, None]]], None]


def test_what_is_written_while_a_file_is_sent_waits_in_order_and_so_does_close(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        body = FileBody(pair.file, ByteRange(0, 10), is_last=True)
        pair.transport.cork()
        pair.transport.write(b"before")
        pair.transport.write(body)
        pair.transport.write(b"after")
        pair.transport.write(bytearray(b"wards"))
        assert pair.transport.get_write_buffer_size() == len("afterwards")
        sending = asyncio.create_task(body.sent(pair.threads, STALL_SECONDS))
        await asyncio.sleep(0)
        pair.transport.close()
        pair.transport.close()
        pair.transport.resume_reading()
        assert (pair.twin.written, pair.twin.is_open, pair.twin.reads) == (b"before", True, False)
        assert pair.transport.is_closing()
        assert await sending
        assert pair.client.recv(100) == b"0123456789"
        assert (pair.twin.written, pair.twin.is_open) == (b"beforeafterwards", False)
        assert pair.file.closed

    with_pair(work)


def test_a_file_that_is_never_sent_does_not_hold_up_close(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        pair.transport.write(FileBody(pair.file, ByteRange(0, 10), is_last=True))
        pair.transport.close()
        assert not pair.twin.is_open

    with_pair(work)


def test_a_connection_that_is_about_to_end_sends_no_file_but_what_it_still_holds(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        body = FileBody(pair.file, ByteRange(0, 10), is_last=True)
        pair.twin.buffered = 1
        pair.twin.is_open = False
        pair.transport.write(body)
        sending = asyncio.create_task(body.sent(pair.threads, STALL_SECONDS))
        await asyncio.sleep(0.05)
        assert (sending.done(), pair.twin.aborted) == (False, False)
        pair.transport.lost()
        assert not await sending

    with_pair(work)


def test_a_file_waits_until_the_buffer_of_the_transport_has_drained(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        body = FileBody(pair.file, ByteRange(2, 5), is_last=False)
        pair.transport.write(body)
        pair.twin.buffered = 1
        sending = asyncio.create_task(body.sent(pair.threads, STALL_SECONDS))
        await asyncio.sleep(0.05)
        assert (sending.done(), pair.twin.limits) == (False, [0])
        pair.twin.buffered = 0
        pair.transport.drained()
        assert await sending
        assert pair.twin.limits == [0, None]
        assert pair.client.recv(100) == b"234"
        assert not pair.file.closed

    with_pair(work)


@pytest.mark.parametrize("phase", ["draining", "full", "begun"])
def test_a_connection_that_is_lost_ends_the_sending_at_once(with_pair: WithPair, phase: str) -> None:
    async def work(pair: _Pair) -> None:
        body = FileBody(pair.file, ByteRange(0, 10 * MIB), is_last=True)
        pair.twin.buffered = int(phase == "draining")
        pair.transport.write(body)
        sending = asyncio.create_task(body.sent(pair.threads, STALL_SECONDS))
        await asyncio.sleep(0 if phase == "begun" else 0.1)
        assert not sending.done()
        pair.twin.is_open = False
        pair.transport.lost()
        assert not await sending

    with_pair(work)


def test_a_connection_that_is_lost_while_a_thread_returns_is_not_waited_for(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        class Late(ThreadPool):
            def start(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
                visit: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                visit.set_result(False)
                pair.transport.lost()
                return visit

        body = FileBody(pair.file, ByteRange(0, 10), is_last=True)
        pair.transport.write(body)
        assert not await body.sent(Late("late", 1), STALL_SECONDS)

    with_pair(work)


def test_a_connection_that_is_lost_ends_for_the_client_even_while_a_thread_hangs(with_pair: WithPair) -> None:
    hanging, going_on = threading.Event(), threading.Event()

    class Hanging(StoredFile):
        def send(self, socket_descriptor: int, span: ByteRange) -> int:
            hanging.set()
            going_on.wait(LIVENESS_SECONDS)
            return super().send(socket_descriptor, span)

    async def work(pair: _Pair) -> None:
        with Hanging("x", Record(3, "", ""), os.open(pair.path, os.O_RDONLY), None) as file:
            body = FileBody(file, ByteRange(0, 3), is_last=True)
            pair.transport.write(body)
            sending = asyncio.create_task(body.sent(pair.threads, STALL_SECONDS))
            await asyncio.to_thread(hanging.wait)
            pair.twin.is_open = False
            pair.transport.lost()
            assert await asyncio.to_thread(pair.client.recv, 100) == b""
            going_on.set()
            assert not await sending

    with_pair(work)


def test_one_that_takes_long_goes_to_the_end_of_the_line_now_and_then(with_pair: WithPair) -> None:
    class Slow(StoredFile):
        def send(self, socket_descriptor: int, span: ByteRange) -> int:
            time.sleep(VISIT_SECONDS)
            return super().send(socket_descriptor, ByteRange(span.start, span.start + 1))

    class Counting(ThreadPool):
        count = 0

        def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
            self.count += 1
            return super().start(call, *args, **kwargs)

    async def work(pair: _Pair) -> None:
        threads = Counting("counting", 1)
        with Slow("x", Record(3, "", ""), os.open(pair.path, os.O_RDONLY), None) as file:
            body = FileBody(file, ByteRange(0, 3), is_last=True)
            pair.transport.write(body)
            assert await body.sent(threads, STALL_SECONDS)
        assert (pair.client.recv(100), threads.count) == (b"012", 3)

    with_pair(work)


def test_a_connection_that_is_lost_while_its_client_is_given_up_is_no_fault(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        def lose() -> None:
            pair.twin.is_open = False
            pair.transport.lost()

        loop = asyncio.get_running_loop()
        body = FileBody(pair.file, ByteRange(0, 10 * MIB), is_last=True)
        pair.transport.write(body)
        sending = asyncio.create_task(body.sent(pair.threads, stall_seconds=0.2))
        await asyncio.sleep(0.1)
        # A busy moment of the loop, after which the timer has run, then the connection is lost, and only then who waits
        # for either goes on.
        loop.call_soon(time.sleep, 0.3)
        loop.call_soon(loop.call_soon, loop.call_soon, lose)
        assert not await sending

    with_pair(work)


def test_one_that_gives_up_waiting_aborts_the_connection(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        body = FileBody(pair.file, ByteRange(0, 10 * MIB), is_last=True)
        pair.transport.write(body)
        sending = asyncio.create_task(body.sent(pair.threads, STALL_SECONDS))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not pair.twin.is_open

    with_pair(work)


def test_a_second_body_before_the_first_is_sent_is_refused(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        for expected in (contextlib.nullcontext(), pytest.raises(RuntimeError, match="await its sent")):
            with expected:
                pair.transport.write(FileBody(pair.file, ByteRange(0, 10), is_last=True))

    with_pair(work)


def test_an_error_of_the_file_is_not_taken_for_a_client_that_has_gone(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        pair.file.close()
        body = FileBody(pair.file, ByteRange(0, 10), is_last=True)
        pair.transport.write(body)
        asyncio.get_running_loop().call_later(0.05, pair.transport.lost)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await body.sent(pair.threads, STALL_SECONDS)
        assert not pair.twin.is_open

    with_pair(work)


def test_a_body_that_the_server_has_dropped_is_not_sent(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        assert not await FileBody(pair.file, ByteRange(0, 10), is_last=True).sent(pair.threads, STALL_SECONDS)
        pair.twin.is_open = False
        pair.transport.cork()

    with_pair(work)


def test_the_rest_of_the_transport_is_the_one_underneath(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        protocol = asyncio.Protocol()
        pair.transport.set_protocol(protocol)
        assert pair.transport.get_protocol() is protocol is pair.twin.protocol
        assert pair.transport.get_extra_info("socket").fileno() >= 0
        assert pair.transport.get_extra_info("none", "default") == "default"
        pair.transport.pause_reading()
        assert not pair.transport.is_reading()
        pair.transport.resume_reading()
        assert pair.transport.is_reading()

    with_pair(work)


def test_where_the_file_system_has_no_sendfile_the_bytes_are_copied(with_pair: WithPair) -> None:
    async def work(pair: _Pair) -> None:
        content = Path("/proc/self/environ").read_bytes()  # can be read like a file, but not spliced
        with StoredFile("x", Record(0, "", ""), os.open("/proc/self/environ", os.O_RDONLY), None) as file:
            descriptor = pair.twin.get_extra_info("socket").fileno()
            assert await asyncio.to_thread(file.send, descriptor, ByteRange(2, 12)) == 10
        assert pair.client.recv(100) == content[2:12]

    with_pair(work)
