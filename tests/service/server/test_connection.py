"""What a connection takes from a client, and what it bounds; every bound of time by a clock that the test sets."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.server import HttpProtocol, Options, http_protocol
from service.server.connection import READ_BYTES
from service.server.parser import RequestParser
from service.server.state import State
from tests.service.server.direct import Direct, Receive, Recorder, Send, Transport, answering, chunked, request


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


async def waiting(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Reads the body, and what comes after it: the end of the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def test_what_is_not_in_the_table_of_states_is_an_error() -> None:
    async def work() -> None:
        direct = Direct(answering())
        with pytest.raises(RuntimeError, match="can't go from IDLE to UNREAD"):
            direct.protocol._enter(State.UNREAD)
        for state in State:
            assert state not in state.then

    run(work)


def test_an_answer_that_no_application_gives_is_rendered_as_the_options_say_and_dated() -> None:
    seen: list[tuple[int, str]] = []

    def render(status: int, detail: str, scope: dict[str, Any] | None) -> tuple[list[tuple[bytes, bytes]], bytes]:
        seen.append((status, detail))
        return [(b"content-type", b"text/x")], b"why"

    async def work() -> None:
        direct = Direct(answering(), options=Options(render=render))
        await direct.send(b"\x00")
        (answer,) = direct.answers
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\ndate: ")
        assert answer.endswith(b"content-type: text/x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nwhy")
        assert [status for status, _ in seen] == [400]

    run(work)
    protocol = http_protocol(Options(render=render))
    assert issubclass(protocol, HttpProtocol)
    assert protocol.options.render is render


def test_a_coding_that_is_not_known_is_answered_once() -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder)
        await direct.send(
            request("POST", Transfer_Encoding="xchunked") + chunked(b"GET / HTTP/1.1\r\n\r\n") + request()
        )
        await direct.send(request())
        assert (direct.statuses, recorder.scopes, direct.transport.ended) == ([501], [], True)

    run(work)


def test_trailers_are_never_header_fields_whether_they_come_with_the_head_or_later() -> None:
    """RFC 9110, section 6.5.1."""

    async def work() -> None:
        data = (
            request("POST", Transfer_Encoding="chunked", Trailer="Authorization")
            + b"1\r\nx\r\n0\r\nAuthorization: y\r\n\r\n"
        )
        for size in (len(data), 1):
            recorder = Recorder()
            direct = Direct(recorder)
            for start in range(0, len(data), size):
                direct.arrive(data[start : start + size])
            await direct.settle()
            names = [name for name, _ in recorder.scopes[0]["headers"]]
            assert (names, recorder.bodies) == ([b"host", b"transfer-encoding", b"trailer"], [b"x"])

    run(work)


def test_chunks_in_one_large_read_are_one_piece_of_a_body() -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder)
        await direct.send(request("POST", Transfer_Encoding="chunked"))
        await direct.send(chunked(*[b"x"] * 60_000))
        assert (recorder.bodies, direct.statuses) == ([b"x" * 60_000], [200])
        assert len(chunked(*[b"x"] * 60_000)) > READ_BYTES

    run(work)


def test_a_client_that_has_said_all_gets_its_answers_and_then_the_end() -> None:
    """RFC 9112, section 9.6, and Kludex/uvicorn#1264; of an echo piped through ``nc -N``, say."""

    async def work() -> None:
        go_on = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await go_on.wait()
            await answering()(scope, receive, send)

        direct = Direct(app)
        await direct.send(request("POST", body=b"x") + request() * 2 + b"GET / HT")
        assert direct.end() is True
        go_on.set()
        await direct.settle()
        await direct.settle()
        assert (direct.statuses, direct.transport.closed, direct.transport.aborted) == ([200] * 3, True, False)
        assert b"connection: close" not in direct.answers[0]

        direct = Direct(app)
        go_on.clear()
        await direct.send(request())
        assert direct.end() is True
        go_on.set()
        await direct.settle()
        assert (b"connection: close" in direct.answers[0], direct.transport.closed) == (True, True)

    run(work)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"])
def test_a_client_that_ends_before_its_request_does_is_gone(begun: bytes) -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder)
        await direct.send(begun)
        assert direct.end() is False
        assert direct.transport.closed
        direct.lose()
        await direct.settle()
        assert (direct.transport.written, recorder.bodies) == (b"", [])
        assert recorder.disconnects == len(recorder.scopes)

    run(work)


def test_a_body_that_stops_to_make_sense_is_answered_at_once_and_the_application_told() -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder)
        await direct.send(request("POST", Transfer_Encoding="chunked") + b"1\r\nx\r\n")
        await direct.send(b"xyz\r\n")
        assert (direct.statuses, recorder.disconnects, direct.transport.ended) == ([400], 1, True)

    run(work)


def test_a_body_that_stops_to_make_sense_after_the_answer_began_ends_the_connection() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await waiting(scope, receive, send)

    async def work() -> None:
        direct = Direct(app)
        await direct.send(request("POST", Transfer_Encoding="chunked") + b"1\r\nx\r\n")
        await direct.send(b"xyz\r\n")
        assert (direct.statuses, direct.transport.aborted) == ([200], True)

    run(work)


def test_a_failure_of_the_parser_is_not_blamed_on_the_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(RequestParser, "_read_head", fail)

    async def work() -> None:
        direct = Direct(answering())
        await direct.send(request())
        assert (direct.statuses, direct.transport.ended) == ([500], True)

    run(work)
    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[0] is MemoryError


def test_bytes_that_arrive_after_the_end_are_dropped() -> None:
    async def work() -> None:
        direct = Direct(answering())
        await direct.send(b"\x00")
        await direct.send(request() * 100)
        assert direct.statuses == [400]
        direct.lose()
        direct.protocol.buffer_updated(1)

    run(work)


OPTIONS = Options(head_seconds=20, stall_seconds=30, rate_seconds=10, least_bytes_per_second=100, linger_seconds=2)


def test_a_connection_that_is_idle_ends_before_the_first_request_and_after_the_last() -> None:
    async def work() -> None:
        direct = Direct(answering(), options=OPTIONS, timeout_keep_alive=15)
        direct.wait(14)
        await direct.send(request())
        direct.wait(14)
        await direct.send(request())
        direct.wait(14.5)
        assert not direct.transport.closed
        direct.wait(1)
        assert (direct.statuses, direct.transport.closed) == ([200, 200], True)

    run(work)


def test_a_head_must_come_in_time_however_steadily_it_trickles() -> None:
    async def work() -> None:
        direct = Direct(answering(), options=OPTIONS, timeout_keep_alive=15)
        direct.wait(14)
        for byte in request(X="x" * 100)[:19]:
            direct.arrive(bytes([byte]))
            direct.wait(1)
        assert not direct.transport.closed
        direct.wait(2)
        assert direct.transport.closed

    run(work)


def test_an_application_may_take_its_time() -> None:
    async def work() -> None:
        direct = Direct(waiting, options=OPTIONS, timeout_keep_alive=15)
        await direct.send(request())
        direct.wait(100_000)
        assert not direct.transport.closed
        direct.lose()

    run(work)


def test_a_body_that_trickles_is_given_up_and_one_that_comes_at_the_least_rate_is_not() -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder, options=OPTIONS)
        await direct.send(request("POST", Content_Length="5000"))
        for _ in range(49):
            await direct.send(b"x" * 100)
            direct.wait(1)
        assert (direct.statuses, recorder.disconnects) == ([], 0)
        await direct.send(b"x" * 100)
        assert (direct.statuses, len(recorder.bodies[0])) == ([200], 5000)

        await direct.send(request("POST", Content_Length="5000"))
        for _ in range(25):
            await direct.send(b"x" * 99)
            direct.wait(1)
            if direct.transport.ended:
                break
        await direct.settle()
        assert (direct.statuses, recorder.disconnects) == ([200, 408], 1)
        assert b"at least 100 bytes a second" in direct.answers[1]

    run(work)


def test_a_client_is_not_slow_while_the_application_does_not_ask() -> None:
    async def work() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await receive()
            asked.set()
            await go_on.wait()
            await answering()(scope, receive, send)

        direct = Direct(app, options=OPTIONS)
        await direct.send(request("POST", Content_Length="200000") + b"x" * 100)
        await asked.wait()
        direct.wait(1000)
        go_on.set()
        await direct.settle()
        assert direct.statuses == []
        direct.wait(9)
        await direct.send(b"x" * 199_900)
        await direct.settle()
        assert direct.statuses == [200]

    run(work)


def test_the_rest_of_a_body_that_is_dropped_must_come_in_time() -> None:
    async def answer_first(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def work() -> None:
        direct = Direct(answer_first, options=OPTIONS)
        await direct.send(request("POST", Content_Length="5000"))
        direct.wait(19)
        assert not direct.transport.closed
        direct.wait(2)
        assert direct.transport.closed

    run(work)


def test_a_client_that_takes_nothing_of_its_answer_loses_the_connection() -> None:
    async def work() -> None:
        direct = Direct(answering(b"x" * 1000), options=OPTIONS, timeout_keep_alive=200)
        direct.transport.takes = False
        await direct.send(request())
        for _ in range(5):
            direct.wait(25)
            assert not direct.transport.closed
            direct.transport.waiting -= 1
        direct.wait(45)
        assert direct.transport.aborted

    run(work)


def test_a_transport_without_a_socket_or_a_half_close_is_served_as_well() -> None:
    async def work() -> None:
        direct = Direct(answering(), transport=Transport(sslcontext=object()))
        await direct.send(b"\x00")
        assert (direct.statuses, direct.transport.closed) == ([400], True)

    run(work)


@pytest.mark.parametrize("told", [b"close\r\nConnection: keep-alive", b"x\r\nConnection: Close", b"keep-alive, close"])
def test_close_on_one_of_several_lines_ends_the_connection(told: bytes) -> None:
    async def work() -> None:
        direct = Direct(answering())
        await direct.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + told + b"\r\n\r\n")
        assert (direct.statuses, direct.transport.closed) == ([200], True)

    run(work)


def test_a_request_that_follows_one_with_options_is_read_like_any_other() -> None:
    async def work() -> None:
        direct = Direct(answering())
        for field in ("Connection", "Proxy-Connection"):
            await direct.send(request(fields={field: "keep-alive"}))
            await direct.send(request())
        assert (direct.statuses, direct.transport.closed) == ([200] * 4, False)

    run(work)


def test_codings_on_several_lines_are_one_list() -> None:
    async def work() -> None:
        direct = Direct(answering())
        fields = b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"
        await direct.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n0\r\n\r\n")
        assert direct.statuses == [501]

    run(work)


def test_the_target_of_the_server_as_a_whole_is_of_options_alone() -> None:
    async def work() -> None:
        for method, status in (("OPTIONS", 200), ("GET", 400)):
            direct = Direct(answering())
            await direct.send(request(method, "*"))
            assert direct.statuses == [status]

    run(work)


def test_an_application_that_listens_hears_of_a_client_that_sends_no_more_and_can_still_answer() -> None:
    heard: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        heard.append((await receive())["type"])
        await answering()(scope, receive, send)

    async def work() -> None:
        direct = Direct(app)
        await direct.send(request())
        assert heard == []
        assert direct.end()
        await direct.settle()
        assert (heard, direct.statuses, direct.transport.closed) == (["http.disconnect"], [200], True)

    run(work)


def test_an_answer_that_is_long_under_way_is_not_cut_by_the_lingering() -> None:
    async def work() -> None:
        direct = Direct(sending_early(), options=OPTIONS, timeout_keep_alive=15)
        direct.transport.takes = False
        await direct.send(request("POST", Content_Length="1000000"))
        for _ in range(5):
            direct.wait(OPTIONS.linger_seconds)
            assert not direct.transport.closed
            direct.transport.waiting -= 1
        direct.transport.waiting = 0
        direct.wait(2 * OPTIONS.linger_seconds)
        assert direct.transport.closed

    run(work)


def sending_early() -> Any:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"x" * 1000})

    return app


def test_a_request_runs_in_the_context_of_its_connection_and_not_in_that_of_the_one_before() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set(scope["path"])
        await answering()(scope, receive, send)

    async def work() -> None:
        variable.set("outside")
        direct = Direct(app)
        await direct.send(request(target="/1") + request(target="/2"))
        await direct.send(request(target="/3"))
        assert seen == ["outside"] * 3

    run(work)


def test_a_refusal_is_rendered_for_the_request_in_whose_midst_it_comes() -> None:
    seen: list[str | None] = []

    def render(status: int, detail: str, scope: dict[str, Any] | None) -> tuple[list[tuple[bytes, bytes]], bytes]:
        seen.append(scope["path"] if scope is not None else None)
        return [], b""

    async def work() -> None:
        for sent in (b"no HTTP\r\n\r\n", request("POST", "/a", Transfer_Encoding="chunked") + b"xyz\r\n"):
            await Direct(Recorder(), options=Options(render=render)).send(sent)
        assert seen == [None, "/a"]

    run(work)


def test_the_loops_of_two_threads_read_into_buffers_of_their_own() -> None:
    buffers: list[memoryview] = []

    async def work() -> None:
        first, second = (Direct(answering()).protocol.get_buffer(-1) for _ in range(2))
        assert first.obj is second.obj
        buffers.append(first)

    for _ in range(2):
        thread = threading.Thread(target=run, args=(work,))
        thread.start()
        thread.join()
    assert len(buffers) == 2
    assert buffers[0].obj is not buffers[1].obj


def test_what_waits_is_bounded_over_all_connections() -> None:
    class Protocol(HttpProtocol):
        options = Options(waiting_bytes=1000)

    async def work() -> None:
        heads = [Direct(answering(), kind=Protocol) for _ in range(3)]
        for direct in heads:
            await direct.send(b"GET /" + b"a" * 395)
        # Only who comes when there is enough is sent away.
        assert [direct.statuses for direct in heads] == [[], [], [503]]
        for direct in heads:
            direct.lose()
        assert Protocol.waiting_bytes == 0
        served = Direct(answering(), kind=Protocol)
        await served.send(request())
        assert (served.statuses, Protocol.waiting_bytes) == ([200], 0)

    run(work)


def test_requests_sent_ahead_are_dropped_with_the_connection_when_too_much_waits() -> None:
    class Protocol(HttpProtocol):
        options = Options(waiting_bytes=1000)

    async def work() -> None:
        go_on = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await go_on.wait()
            await answering()(scope, receive, send)

        direct = Direct(app, kind=Protocol)
        await direct.send(request() + request() * 100)
        assert Protocol.waiting_bytes == 0
        go_on.set()
        await direct.settle()
        assert (direct.statuses, direct.transport.ended) == ([200], True)

    run(work)


def test_no_more_is_read_with_a_body_than_belongs_to_it_and_a_little() -> None:
    async def work() -> None:
        for body, largest in (
            (request("POST", Content_Length="100000"), 100_000),
            (request("POST", Content_Length="9"), 16384),
        ):
            direct = Direct(Recorder())
            await direct.send(body)
            assert len(direct.protocol.get_buffer(-1)) == largest
        direct = Direct(Recorder())
        await direct.send(request("POST", Transfer_Encoding="chunked") + b"30000\r\nx")
        assert len(direct.protocol.get_buffer(-1)) == 0x30000 - 1
        await direct.send(b"x" * (0x30000 - 1) + b"\r\n1\r\n")
        assert len(direct.protocol.get_buffer(-1)) == 16384

    run(work)


def test_a_length_of_many_digits_is_the_clients_mistake(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        direct = Direct(answering())
        await direct.send(request("POST", Content_Length="0" * 5000 + "1"))
        assert (direct.statuses, caplog.records) == ([400], [])

    run(work)


def test_a_coding_is_named_only_when_all_of_it_has_arrived() -> None:
    async def work() -> None:
        sent = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        for step in (len(sent), 7):
            direct = Direct(answering())
            for at in range(0, len(sent), step):
                await direct.send(sent[at : at + step])
            assert direct.statuses == [400]

    run(work)
