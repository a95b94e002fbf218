"""Bodies and files past the event loop, over a real socket of which the test has the other end."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.server import Options
from service.server.connection import FIRST_BYTES
from service.server.extensions import RECEIVE_INTO, ZERO_COPY_SEND
from service.server.raw_socket import VISIT_SECONDS, PeerGone
from tests.service.server.direct import App, Direct, Message, Receive, Send, Transport, request

LIVENESS_SECONDS = 20.0
MIB = 1024 * 1024

Scope = dict[str, Any]


class _Link:
    """A connection over one end of a pair of sockets, the other end, and a file."""

    def __init__(self, path: Path) -> None:
        self.near, self.client = socket.socketpair()
        self.near.setblocking(False)
        self.client.settimeout(LIVENESS_SECONDS)
        self.path = path
        self.file = path.open("rb")
        self.transport = Transport(socket=self.near)

    def serve(self, app: App, **options: Any) -> Direct:
        return Direct(app, transport=self.transport, options=Options(**options))

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(asyncio.wait_for(work(), LIVENESS_SECONDS))

    def close(self) -> None:
        self.near.close()
        self.client.close()
        self.file.close()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[_Link]:
    path = tmp_path / "content"
    path.write_bytes(b"0123456789" * MIB)
    found = _Link(path)
    yield found
    found.close()


def sends(link: _Link, *messages: Message, length: int | None = None, raised: list[BaseException] | None = None) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert ZERO_COPY_SEND in scope["extensions"]
        headers = [(b"content-length", b"%d" % length)] if length is not None else []
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for message in messages:
                await send({"type": ZERO_COPY_SEND, "file": link.file, **message})
        except BaseException as error:
            if raised is not None:
                raised.append(error)
            raise

    return app


async def _done(direct: Direct) -> None:
    while direct.state.tasks:
        await asyncio.sleep(0.001)


def test_parts_of_a_file_are_sent_between_bodies_and_in_order(link: _Link) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"<", "more_body": True})
        await send({"type": ZERO_COPY_SEND, "file": link.file, "offset": 2, "count": 3, "more_body": True})
        await send({"type": ZERO_COPY_SEND, "file": link.file, "offset": 7, "count": 2, "more_body": True})
        await send({"type": "http.response.body", "body": b"done"})

    async def work() -> None:
        direct = link.serve(app)
        await direct.send(request())
        await _done(direct)
        assert link.client.recv(100) == b"23478"
        head, _, written = link.transport.written.partition(b"\r\n\r\n")
        assert (head.startswith(b"HTTP/1.1 200"), written) == (True, b"<done")
        assert not link.transport.closed
        direct.lose()

    link.run(work)


def test_without_offset_and_count_a_file_is_sent_from_where_it_stands_to_its_end(link: _Link) -> None:
    async def work() -> None:
        link.file.seek(10 * MIB - 5)
        os.lseek(link.file.fileno(), 10 * MIB - 5, os.SEEK_SET)
        direct = link.serve(sends(link, {}))
        await direct.send(request())
        await _done(direct)
        assert link.client.recv(100) == b"56789"
        # As one chunk, since nobody has told a length.
        assert link.transport.written.endswith(b"\r\n\r\n5\r\n\r\n0\r\n\r\n")
        direct.lose()

    link.run(work)


def test_head_is_answered_without_the_file(link: _Link) -> None:
    async def work() -> None:
        direct = link.serve(sends(link, {"offset": 0, "count": 5}, length=5))
        await direct.send(request("HEAD"))
        await _done(direct)
        assert direct.statuses == [200]
        link.client.setblocking(False)
        with pytest.raises(BlockingIOError):
            link.client.recv(1)
        direct.lose()

    link.run(work)


def test_a_file_waits_until_the_buffer_of_the_transport_has_drained(link: _Link) -> None:
    async def work() -> None:
        link.transport.set_write_buffer_limits = lambda high=None, low=None: limits.append(high)  # type: ignore[method-assign]
        limits: list[int | None] = []
        link.transport.takes = False
        direct = link.serve(sends(link, {"offset": 2, "count": 3}, length=3))
        await direct.send(request())
        assert (limits, len(direct.state.tasks)) == ([0], 1)
        link.transport.waiting = 0
        direct.protocol.resume_writing()
        await _done(direct)
        assert (limits, link.client.recv(100)) == ([0, None], b"234")
        direct.lose()

    link.run(work)


@pytest.mark.parametrize("phase", ["draining", "full", "begun", "closing"])
def test_a_connection_that_is_lost_ends_the_sending_at_once(
    link: _Link, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[BaseException] = []

    async def work() -> None:
        link.transport.takes = phase != "draining"
        link.transport.set_write_buffer_limits = lambda high=None, low=None: None  # type: ignore[method-assign]
        direct = link.serve(sends(link, {"offset": 0, "count": 10 * MIB}, length=10 * MIB, raised=raised))
        if phase == "closing":
            link.transport.closed = True
            direct.protocol._parser.feed(request())
            direct.protocol._advance()
        else:
            direct.arrive(request())
        if phase != "begun":
            await direct.settle()
        transfer = direct.protocol.transfer()
        while phase == "full" and transfer._waiting is None:
            await asyncio.sleep(0.001)
        link.transport.closed = True
        direct.lose()
        await _done(direct)

    link.run(work)
    (error,) = raised
    assert isinstance(error, OSError) and error.errno is None
    assert caplog.records == []


def test_a_client_that_takes_no_more_of_a_file_loses_the_connection(link: _Link) -> None:
    raised: list[BaseException] = []

    async def work() -> None:
        app = sends(link, {"offset": 0, "count": 10 * MIB}, length=10 * MIB, raised=raised)
        direct = link.serve(app, stall_seconds=10)
        direct.protocol.server_state.connections.clear()
        direct.arrive(request())
        while not (direct.protocol._transfer and direct.protocol._transfer._waiting):
            await asyncio.sleep(0.001)
        direct.wait(5)
        sent = direct.protocol.transfer().socket.position
        assert 0 < sent < 10 * MIB
        # What a Unix socket can tell is less than what TCP can; the position moves with either.
        direct.protocol.transfer().socket.position += 1
        direct.wait(9)
        assert not link.transport.closed
        link.transport.waiting = 1
        direct.wait(25)
        assert link.transport.aborted
        direct.lose()
        await _done(direct)

    link.run(work)
    assert len(raised) == 1


def test_a_file_that_is_shorter_than_was_promised_ends_the_connection(
    link: _Link, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        direct = link.serve(sends(link, {"offset": 10 * MIB - 3, "count": 5}, length=5))
        await direct.send(request())
        await _done(direct)
        assert (link.client.recv(100), link.transport.aborted) == (b"789", True)
        direct.lose()

    link.run(work)
    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[0] is EOFError


def test_one_that_gives_up_waiting_ends_the_connection_and_may_close_its_file_at_once(link: _Link) -> None:
    hanging, going_on = threading.Event(), threading.Event()
    visits: list[Callable[..., Any]] = []

    def hang(call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        def visit() -> Any:
            with link_lock:
                hanging.set()
                assert going_on.wait(LIVENESS_SECONDS)
                return call(*args)

        visits.append(call)
        return asyncio.get_running_loop().run_in_executor(None, visit)

    link_lock = threading.Lock()

    async def work() -> None:
        direct = link.serve(sends(link, {"offset": 0, "count": 3, "run": hang}, length=3))
        await direct.send(request())
        await asyncio.to_thread(hanging.wait, LIVENESS_SECONDS)
        (task,) = direct.state.tasks
        task.cancel()
        await _done(direct)
        assert link.transport.aborted
        link.file.close()
        # The number of the file's descriptor may be another's by now; the thread has one of its own.
        direct.lose()
        going_on.set()
        await asyncio.to_thread(link_lock.acquire)

    link.run(work)
    assert len(visits) == 1


def test_one_that_takes_long_goes_to_the_end_of_the_line_now_and_then(
    link: _Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = 0
    sendfile = os.sendfile

    def slow(out: int, file: int, offset: int, count: int) -> int:
        time.sleep(VISIT_SECONDS)
        return sendfile(out, file, offset, 1)

    async def run(call: Callable[..., Any], *args: Any) -> Any:
        nonlocal visits
        visits += 1
        return await asyncio.to_thread(call, *args)

    async def work() -> None:
        monkeypatch.setattr(os, "sendfile", slow)
        direct = link.serve(sends(link, {"offset": 0, "count": 3, "run": run}, length=3))
        await direct.send(request())
        await _done(direct)
        assert (link.client.recv(100), visits) == (b"012", 3)
        direct.lose()

    link.run(work)


class _Upload:
    """An application that takes a body from the socket, after its first piece if it ``asks_first``."""

    def __init__(self, *, asks_first: bool = False, **message: Any) -> None:
        self._asks_first = asks_first
        self.content = b""
        self.told: list[tuple[int, bool]] = []
        self.raised: list[BaseException] = []
        self.taken = asyncio.Event()
        self._message = message

    def write(self, piece: memoryview, more_body: bool) -> None:
        self.content += piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._asks_first:
            self.content += (await receive())["body"]
        await send({"type": RECEIVE_INTO, "write": self.write, **self._message})
        self.taken.set()
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                self.told.append((message["count"], message["more_body"]))
                more = message["more_body"]
        except (OSError, ValueError) as error:
            self.raised.append(error)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def test_the_rest_of_a_body_is_written_by_a_thread_and_counted(link: _Link) -> None:
    async def work() -> None:
        upload = _Upload(asks_first=True)
        direct = link.serve(upload)
        content = os.urandom(FIRST_BYTES + 100_000)
        head = request("POST", Content_Length=str(len(content)))
        for _ in range(2):
            begun = FIRST_BYTES - len(head)
            direct.arrive(head + content[:begun])
            assert not link.transport.reads
            await upload.taken.wait()
            await asyncio.to_thread(link.client.sendall, content[begun:])
            await _done(direct)
            assert upload.content == content
            assert sum(count for count, _ in upload.told) == len(content) - begun
            assert [more for _, more in upload.told][-1] is False
            assert link.transport.reads
            upload.content, upload.told = b"", []
            upload.taken.clear()
        assert direct.statuses == [200, 200]
        direct.lose()

    link.run(work)


def test_what_had_arrived_and_was_not_asked_for_is_written_first(link: _Link) -> None:
    async def work() -> None:
        upload = _Upload(asks_first=True)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def first() -> Message:
                found = await receive()
                direct.arrive(b"45")
                receives.append(receive)
                return found

            receives: list[Receive] = []
            await upload(scope, lambda: receives[0]() if receives else first(), send)

        direct = link.serve(app)
        await direct.send(request("POST", Content_Length="9") + b"123")
        await upload.taken.wait()
        await asyncio.to_thread(link.client.sendall, b"6789")
        await _done(direct)
        assert (upload.content, upload.told[0]) == (b"123456789", (2, True))
        direct.lose()

    link.run(work)


def test_a_body_is_taken_once_and_only_if_its_length_is_known(link: _Link, caplog: pytest.LogCaptureFixture) -> None:
    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            await send({"type": RECEIVE_INTO, "write": bytes})

    async def work() -> None:
        direct = link.serve(twice)
        await direct.send(request("POST", Content_Length="100"))
        assert direct.statuses == [500]
        direct.lose()

    link.run(work)
    assert "no body to be taken" in str(caplog.records[0].exc_info)

    async def chunked() -> None:
        other = Transport(socket=link.near)
        direct = Direct(twice, transport=other)
        await direct.send(request("POST", Transfer_Encoding="chunked"))
        assert direct.statuses == [500]
        direct.lose()

    link.run(chunked)


@pytest.mark.parametrize("at", ["at once", "at the end"])
def test_what_write_raises_is_raised_after_what_has_arrived_was_told(link: _Link, at: str) -> None:
    async def work() -> None:
        def fail(piece: memoryview, more_body: bool) -> None:
            if piece and (at == "at once" or not more_body):
                raise ValueError("full")

        upload = _Upload(write=fail)
        direct = link.serve(upload)
        await direct.send(request("POST", Content_Length="10"))
        await upload.taken.wait()
        await asyncio.to_thread(link.client.sendall, b"12345" if at == "at once" else b"1234567890")
        await _done(direct)
        assert [str(error) for error in upload.raised] == ["full"]
        assert upload.told == [(5 if at == "at once" else 10, True)]
        # With all of the body read, the connection can be used again.
        assert direct.statuses == [200]
        assert link.transport.ended is (at == "at once")
        direct.lose()

    link.run(work)


def test_what_run_raises_is_raised_at_once(link: _Link) -> None:
    async def work() -> None:
        async def refuse(*_: Any) -> None:
            raise ValueError("no thread")

        upload = _Upload(run=refuse)
        direct = link.serve(upload)
        await direct.send(request("POST", Content_Length="10"))
        await _done(direct)
        assert ([str(error) for error in upload.raised], upload.told) == (["no thread"], [])
        assert (direct.statuses, link.transport.ended) == ([200], True)
        direct.lose()

    link.run(work)


def test_a_client_that_vanishes_in_mid_body_is_told_as_such(link: _Link) -> None:
    async def work() -> None:
        upload = _Upload()
        direct = link.serve(upload)
        await direct.send(request("POST", Content_Length="100"))
        await upload.taken.wait()
        link.client.close()
        await _done(direct)
        assert (direct.statuses, link.transport.aborted) == ([], True)
        direct.lose()

    link.run(work)


def test_a_connection_that_is_lost_while_a_body_is_waited_for_ends_the_wait(link: _Link) -> None:
    async def work() -> None:
        upload = _Upload()
        direct = link.serve(upload)
        await direct.send(request("POST", Content_Length="100"))
        await upload.taken.wait()
        while not (direct.protocol._transfer and direct.protocol._transfer._waiting):
            await asyncio.sleep(0.001)
        direct.lose()
        await _done(direct)

    link.run(work)


def test_few_bytes_are_looked_for_now_and_then(link: _Link) -> None:
    """The loop is not woken for so few."""

    async def work() -> None:
        upload = _Upload()
        direct = link.serve(upload, stall_seconds=4)
        await direct.send(request("POST", Content_Length="1000000"))
        await upload.taken.wait()
        while not (direct.protocol._transfer and direct.protocol._transfer._waiting):
            await asyncio.sleep(0.001)
        await asyncio.to_thread(link.client.sendall, b"few")
        direct.wait(1.1)
        while not upload.told:
            await asyncio.sleep(0.001)
        assert upload.told == [(3, True)]
        direct.lose()
        await _done(direct)

    link.run(work)


def test_bytes_that_arrive_though_a_body_was_taken_end_the_connection(
    link: _Link, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that hands out what it was told to leave would make a hole in the file."""

    async def work() -> None:
        upload = _Upload()
        direct = link.serve(upload)
        await direct.send(request("POST", Content_Length="100"))
        await upload.taken.wait()
        direct.protocol.get_buffer(-1)[:1] = b"x"
        direct.protocol.buffer_updated(1)
        assert link.transport.aborted
        direct.lose()
        await _done(direct)

    link.run(work)
    assert [record.getMessage() for record in caplog.records] == ["bytes of a body have arrived twice"]


def test_a_body_that_is_taken_and_trickles_is_given_up(link: _Link) -> None:
    async def work() -> None:
        upload = _Upload()
        direct = link.serve(upload, rate_seconds=10, stall_seconds=1000)
        await direct.send(request("POST", Content_Length="100000"))
        await upload.taken.wait()
        while not (direct.protocol._transfer and direct.protocol._transfer._waiting):
            await asyncio.sleep(0.001)
        direct.wait(21)
        assert direct.statuses == [408]
        direct.lose()
        await _done(direct)

    link.run(work)


def test_nothing_is_written_into_the_midst_of_a_file(link: _Link) -> None:
    async def work() -> None:
        direct = link.serve(sends(link, {"offset": 0, "count": 10 * MIB}, length=10 * MIB))
        await direct.send(request(Transfer_Encoding="chunked") + b"1\r\nx\r\n")
        # The client takes a part of it, and there is more than the socket holds.
        assert await asyncio.to_thread(link.client.recv, 100)
        await direct.send(b"no size\r\n")
        assert (direct.statuses, link.transport.aborted) == ([200], True)
        direct.lose()
        await _done(direct)

    link.run(work)


def test_a_body_that_is_taken_and_refused_is_passed_on_no_further(link: _Link) -> None:
    heard: list[str] = []
    written: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": RECEIVE_INTO, "write": lambda piece, more_body: written.append(bytes(piece))})
        while (message := await receive())["type"] == "http.request":
            pass
        heard.append(message["type"])

    async def work() -> None:
        options = {"rate_seconds": 10.0, "least_bytes_per_second": 100.0}
        direct = link.serve(app, **options)
        await direct.send(request("POST", Content_Length="1000"))
        while not (direct.protocol._transfer and direct.protocol._transfer._waiting):
            await asyncio.sleep(0.001)
        direct.wait(21)
        assert (direct.statuses, link.transport.ended) == ([408], True)
        # At once, and not when the connection ends.
        await _done(direct)
        assert heard == ["http.disconnect"]
        link.client.sendall(b"b" * 1000)
        with pytest.raises(PeerGone):
            direct.protocol.transfer().socket.receive(1000, lambda piece, more_body: written.append(bytes(piece)))
        assert b"".join(written) == b""
        direct.lose()

    link.run(work)


def test_a_body_that_is_taken_and_not_waited_for_when_the_connection_is_lost_is_not_read(link: _Link) -> None:
    visits: list[Any] = []
    connections: list[Direct] = []

    async def run(call: Callable[..., Any], *args: Any) -> Any:
        visits.append(call)
        if len(visits) == 1:
            connections[0].lose()
        return await asyncio.to_thread(lambda: None)

    async def work() -> None:
        direct = link.serve(_Upload(run=run))
        connections.append(direct)
        await direct.send(request("POST", Content_Length="100"))
        await _done(direct)

    link.run(work)
    assert len(visits) == 1
