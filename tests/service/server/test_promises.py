"""What uvicorn promises an application (its docs/server-behavior.md, and its own tests of its protocols), of this one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from service.server import response
from tests.service.server.direct import App, Direct, Message, Receive, Recorder, Send, Transport, answering, request

Scope = dict[str, Any]
Step = Callable[[Scope, Receive, Send], Awaitable[None]]


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def sending(*messages: Message) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def length(count: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % count)


def test_an_answer_is_a_status_line_header_fields_and_a_body_in_one_write() -> None:
    async def work() -> None:
        direct = Direct(answering(b"hello"))
        await direct.send(request())
        head, _, content = direct.transport.written.partition(b"\r\n\r\n")
        status, date, *fields = head.split(b"\r\n")
        assert (status, fields) == (b"HTTP/1.1 200 OK", [b"content-length: 5"])
        # Of this very answer, where uvicorn's own may be a second old.
        assert date.startswith(b"date: ") and date != b"date: Sat, 28 Nov 2026 00:00:00 GMT"
        assert (content, direct.transport.writes, direct.state.total_requests) == (b"hello", 1, 1)

    run(work)


def test_a_connection_is_kept_and_used_again() -> None:
    async def work() -> None:
        direct = Direct(answering())
        for count in range(1, 4):
            await direct.send(request("POST", body=b"x" * count))
            assert (direct.statuses, direct.transport.closed) == ([200] * count, False)

    run(work)


def test_a_connection_ends_after_the_answer_if_the_client_or_the_application_says_so() -> None:
    async def work() -> None:
        for app, asked in (
            (answering(), request(Connection="close")),
            (sending(start(200, length(0), (b"connection", b"close")), body()), request()),
        ):
            direct = Direct(app)
            await direct.send(asked)
            assert direct.answers[0].count(b"connection: close") == 1
            assert direct.transport.closed

    run(work)


def test_requests_in_line_are_answered_in_order_one_at_a_time() -> None:
    under_way: list[str] = []
    go_on = asyncio.Semaphore(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        under_way.append(scope["path"])
        await go_on.acquire()
        await answering(scope["path"].encode())(scope, receive, send)

    async def work() -> None:
        direct = Direct(app)
        await direct.send(b"".join(request(target=f"/{number}") for number in range(3)) + request(target="/late"))
        for number in range(3):
            assert under_way == [f"/{n}" for n in range(number + 1)]
            go_on.release()
            await direct.settle()
        go_on.release()
        await direct.settle()
        assert [answer[-2:] for answer in direct.answers[:3]] == [b"/0", b"/1", b"/2"]
        assert direct.answers[3].endswith(b"/late")

    run(work)


def test_what_arrives_while_a_request_is_answered_is_kept_as_it_came_and_then_no_more_is_read() -> None:
    async def work() -> None:
        never = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await never.wait()

        direct = Direct(app)
        await direct.send(request())
        assert direct.transport.reads
        await direct.send(request() * 10_000)
        assert not direct.transport.reads
        assert len(direct.protocol._parser.data) <= 16 * 1024
        direct.lose()

    run(work)


def test_a_body_is_handed_over_as_it_comes_and_read_no_faster_than_it_is_asked_for() -> None:
    async def work() -> None:
        pieces: list[bytes] = []
        ask = asyncio.Semaphore(0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            more = True
            while more:
                await ask.acquire()
                message = await receive()
                pieces.append(message["body"])
                more = message["more_body"]
            await sending(start(200, length(2)), body(b"ok"))(scope, receive, send)

        content = bytes(range(256)) * 4096
        direct = Direct(app)
        await direct.send(request("POST", body=content))
        assert not direct.transport.reads
        held = direct.protocol._cycle.held  # type: ignore[union-attr]
        assert held <= 64 * 1024
        for _ in range(20):
            ask.release()
            await direct.settle()
        assert (b"".join(pieces), direct.statuses) == (content, [200])

    run(work)


def test_the_end_of_a_body_is_told_once_and_then_the_end_of_the_connection_is_waited_for() -> None:
    async def work() -> None:
        found: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for _ in range(3):
                found.append(await receive())

        direct = Direct(app)
        await direct.send(request())
        assert found == [{"type": "http.request", "body": b"", "more_body": False}]
        direct.lose()
        await direct.settle()
        assert found[1:] == [{"type": "http.disconnect"}] * 2

    run(work)


def test_after_the_answer_an_application_that_asks_is_told_that_all_is_over() -> None:
    async def work() -> None:
        found: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answering()(scope, receive, send)
            found.append(await receive())

        direct = Direct(app)
        await direct.send(request())
        assert (found, direct.transport.closed) == ([{"type": "http.disconnect"}], False)

    run(work)


def test_one_that_waits_for_the_end_hears_of_its_own_answer() -> None:
    async def work() -> None:
        found: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            await answering()(scope, _never, send)
            found.append(await waiting)

        async def _never() -> Message:
            return {"type": "http.request"}

        direct = Direct(app)
        await direct.send(request())
        assert found == [{"type": "http.disconnect"}]

    run(work)


def test_to_send_to_a_client_that_has_gone_raises_an_oserror_that_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """ASGI 2.4."""
    raised: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        try:
            await send(start())
        except OSError as error:
            raised.append(error)
            raise

    async def work() -> None:
        direct = Direct(app)
        await direct.send(request())
        direct.lose()
        await direct.settle()

    run(work)
    assert [error.errno for error in raised] == [None]
    assert caplog.records == []


def test_100_continue_is_sent_when_the_body_is_asked_for_and_only_then() -> None:
    async def work() -> None:
        direct = Direct(answering())
        await direct.send(request("POST", Content_Length="5", Expect="100-continue"))
        assert direct.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        await direct.send(b"hello")
        assert (direct.statuses, direct.transport.closed) == ([100, 200], False)
        # Not for one who sends at once, nor for HTTP/1.0 (RFC 9110, section 10.1.1).
        await direct.send(request("POST", body=b"hello", Expect="100-continue"))
        assert direct.statuses == [100, 200, 200]
        direct = Direct(answering())
        await direct.send(b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert direct.transport.written == b""

    run(work)


def test_a_body_that_nobody_asked_for_after_expect_ends_the_connection() -> None:
    """Whether it will be sent, nobody can tell."""

    async def work() -> None:
        direct = Direct(sending(start(401, length(0)), body()))
        await direct.send(request("POST", Content_Length="5", Expect="100-continue"))
        assert direct.statuses == [401]
        assert (b"connection: close" in direct.answers[0], direct.transport.ended) == (True, True)

    run(work)


def test_head_and_statuses_without_a_body_send_none() -> None:
    async def work() -> None:
        direct = Direct(answering(b"hello"))
        await direct.send(request("HEAD"))
        assert direct.transport.written.endswith(b"content-length: 5\r\n\r\n")
        direct = Direct(sending(start(200), body(b"x", more=True), body(b"y")))
        await direct.send(request("HEAD") * 2)
        assert direct.statuses == [200, 200]
        assert b"chunked" not in direct.transport.written
        for status in (204, 304):
            direct = Direct(sending(start(status), body(b"dropped")))
            await direct.send(request() * 2)
            assert direct.statuses == [status, status]
            assert b"chunked" not in direct.transport.written
            assert b"dropped" not in direct.transport.written

    run(work)


def test_an_answer_of_unknown_length_is_chunked() -> None:
    async def work() -> None:
        asked = (b"Transfer-Encoding", b"chunked")  # the server's own affair: it is neither needed nor doubled
        direct = Direct(sending(start(200, asked), body(b"hello", more=True), body(b"", more=True), body(b"you")))
        await direct.send(request())
        head, _, content = direct.transport.written.partition(b"\r\n\r\n")
        assert head.count(b"transfer-encoding: chunked") == 1
        assert content == b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
        assert not direct.transport.closed
        direct = Direct(sending(start(), body()))
        await direct.send(request())
        assert direct.transport.written.endswith(b"\r\n\r\n0\r\n\r\n")

    run(work)


def test_http_1_0_is_answered_without_chunks_and_kept_alive_if_asked_for() -> None:
    """RFC 9112, section 9.3; Go, nginx and Apache do."""

    async def work() -> None:
        direct = Direct(answering())
        await direct.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        assert [b"connection: keep-alive" in answer for answer in direct.answers] == [True, True]
        await direct.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (b"connection: close" in direct.answers[2], direct.transport.closed) == (True, True)
        direct = Direct(sending(start(), body(b"hello", more=True), body(b"!")))
        await direct.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, content = direct.transport.written.partition(b"\r\n\r\n")
        assert (b"connection: close" in head, b"chunked" in head) == (True, False)
        assert (content, direct.transport.closed) == (b"hello!", True)

    run(work)


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (body(b"no start"),),
        (start(200, (b"a b", b"c")),),
        (start(200, (b"a", b"b\r\nset-cookie: c")),),
        (start(200, (b"a", b"\r\n")),),
        (start(200, (b"a", b"\x00")),),
        (start(200, length(2)), body(b"too long")),
        (start(200, length(9)), body(b"short")),
        (start(200, (b"content-length", b"x")),),
        ({"type": "http.response.nonsense"},),
        ({"type": "http.request.receiveinto", "write": bytes},),
        (start(), start()),
        (start(),),
    ],
)
def test_an_application_that_gives_no_answer_gives_a_500_and_is_logged(
    messages: tuple[Message, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        direct = Direct(sending(*messages))
        await direct.send(request())
        assert (direct.statuses, direct.transport.ended) == ([500], True)
        assert direct.answers[0].endswith(b"\r\n\r\nInternal Server Error")
        assert b"date: Sat" in direct.answers[0] and b"connection: close" in direct.answers[0]

    run(work)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "Exception in ASGI application")
    assert record.exc_info


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_that_raises_or_returns_something_gives_a_500(method: str, caplog: pytest.LogCaptureFixture) -> None:
    async def raising(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async def returning(scope: Scope, receive: Receive, send: Send) -> Any:
        return "something"

    async def work() -> None:
        for app in (raising, returning):
            direct = Direct(app)
            await direct.send(request(method))
            assert direct.statuses == [500]
            assert direct.transport.written.endswith(b"Internal Server Error") is (method == "GET")

    run(work)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("more", [(), (start(),), (body(b"too long"),), (body(b""),)])
def test_an_answer_that_is_not_ended_ends_the_connection_so_that_nobody_takes_it_for_whole(
    more: tuple[Message, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        direct = Direct(sending(start(200, length(5)), body(b"he", more=True), *more))
        await direct.send(request())
        assert (direct.statuses, direct.transport.aborted) == ([200], True)

    run(work)
    assert len(caplog.records) == 1


def test_what_is_sent_after_the_answer_is_an_error_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        direct = Direct(sending(start(200, length(0)), body(), body()))
        await direct.send(request())
        await direct.send(request())
        assert (direct.statuses, direct.transport.closed) == ([200, 200], False)

    run(work)
    assert len(caplog.records) == 2


def test_a_small_body_that_was_not_asked_for_is_dropped_and_the_connection_goes_on() -> None:
    async def work() -> None:
        direct = Direct(sending(start(200, length(2)), body(b"ok")))
        await direct.send(request("POST", body=b"x" * 30_000) + request())
        assert (direct.statuses, direct.transport.closed) == ([200, 200], False)

    run(work)


@pytest.mark.parametrize(
    "large", [request("POST", Content_Length="1000000"), request("POST", Transfer_Encoding="chunked")]
)
def test_a_large_body_that_was_not_asked_for_ends_the_connection_but_not_before_the_answer_is_read(
    large: bytes,
) -> None:
    """RFC 9112, section 9.6: else the client's further bytes would reset it."""

    async def work() -> None:
        direct = Direct(sending(start(413, length(2)), body(b"no")))
        await direct.send(large)
        assert direct.statuses == [413]
        assert b"connection: close" in direct.answers[0]
        assert (direct.transport.ended, direct.transport.closed, direct.transport.reads) == (True, False, True)
        await direct.send(b"x" * 100_000)
        direct.wait(1.9)
        assert not direct.transport.closed
        direct.wait(0.2)
        assert direct.transport.closed

    run(work)


def test_a_client_that_has_read_why_may_end_the_connection_itself() -> None:
    async def work() -> None:
        direct = Direct(sending(start(413, length(2)), body(b"no")))
        await direct.send(request("POST", Content_Length="1000000"))
        assert (direct.end(), direct.transport.closed) == (False, True)
        direct.lose()
        direct.wait(10)

    run(work)


def test_sending_waits_while_the_client_takes_nothing() -> None:
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, length(300_000)))
        for number in range(3):
            await send(body(b"x" * 100_000, more=number < 2))
            sent.append(number)

    async def work() -> None:
        direct = Direct(app)
        direct.transport.takes = False
        direct.arrive(request())
        await asyncio.sleep(0)
        assert sent == [0, 1, 2]
        sent.clear()
        direct.protocol.pause_writing()
        await direct.send(request())
        assert sent == []
        direct.protocol.resume_writing()
        await direct.settle()
        assert sent == [0, 1, 2]
        direct.protocol.pause_writing()
        await direct.send(request())
        direct.lose()
        await direct.settle()
        assert (sent, direct.state.tasks) == ([0, 1, 2], set())

    run(work)


def test_a_scope_says_what_was_asked_and_by_whom() -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder, root_path="/root")
        await direct.send(request("GET", "/a%20b%C3%A9?c=%64", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https"))
        (scope,) = recorder.scopes
        assert {name: scope[name] for name in ("type", "http_version", "method", "scheme")} == {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
        }
        assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/root/a bé", b"/root/a%20b%C3%A9", "/root")
        assert scope["query_string"] == b"c=%64"
        # Proxies are uvicorn's affair, which wraps the application for them.
        assert (scope["client"], scope["server"]) == (("127.0.0.1", 50000), ("127.0.0.1", 80))
        assert (b"x-forwarded-for", b"1.2.3.4") in scope["headers"]
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
        assert scope["extensions"] == {}

    run(work)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", b""),
        ("//a/b", "//a/b", b""),
        ("/a?b?c#d", "/a", b"b?c"),
        ("*", "*", b""),
        ("http://other/a?b", "/a", b"b"),
        ("http://other", "/", b""),
    ],
)
def test_a_target_of_any_form_has_a_path_and_a_query(target: str, path: str, query: bytes) -> None:
    async def work() -> None:
        recorder = Recorder()
        await Direct(recorder).send(request("OPTIONS", target))
        (scope,) = recorder.scopes
        assert (scope["path"], scope["query_string"]) == (path, query)

    run(work)


def test_a_target_that_is_none_is_refused() -> None:
    async def work() -> None:
        direct = Direct(answering())
        await direct.send(request(target="http://a:b:c/"))
        assert direct.statuses == [400]

    run(work)


def test_a_unix_socket_and_an_encrypted_connection_are_told() -> None:
    async def work() -> None:
        recorder = Recorder()
        direct = Direct(recorder, transport=Transport(sockname="/run/it", peername="", sslcontext=object()))
        await direct.send(request())
        (scope,) = recorder.scopes
        assert (scope["server"], scope["client"], scope["scheme"]) == (("/run/it", None), None, "https")
        assert direct.end() is False  # what asyncio allows there

    run(work)


def test_each_request_gets_a_copy_of_the_lifespans_state() -> None:
    async def work() -> None:
        recorder, shared = Recorder(), object()
        direct = Direct(recorder, app_state={"shared": shared})
        await direct.send(request())
        recorder.scopes[0]["state"]["own"] = 1
        await direct.send(request())
        assert recorder.scopes[1]["state"] == {"shared": shared}

    run(work)


def test_more_at_once_than_the_configuration_allows_are_told_to_try_again() -> None:
    async def work() -> None:
        direct = Direct(answering(), limit_concurrency=1)
        await direct.send(request())
        assert (direct.statuses, direct.transport.ended) == ([503], True)

    run(work)


def test_connections_and_tasks_are_counted_while_they_last() -> None:
    async def work() -> None:
        direct = Direct(answering())
        assert (direct.state.connections, direct.state.tasks) == ({direct.protocol}, set())
        direct.arrive(request())
        assert len(direct.state.tasks) == 1
        await direct.settle()
        direct.lose()
        assert (direct.state.connections, direct.state.tasks) == (set(), set())

    run(work)


def test_a_server_that_stops_closes_what_is_idle_and_ends_what_is_busy_after_its_answer() -> None:
    async def work() -> None:
        idle, begun = Direct(answering()), Direct(answering())
        begun.arrive(b"GET / HT")
        for direct in (idle, begun):
            direct.protocol.shutdown()
            assert direct.transport.closed
        go_on = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go_on.wait()
            await answering()(scope, receive, send)

        busy = Direct(app)
        await busy.send(request() * 2)
        busy.protocol.shutdown()
        assert not busy.transport.closed
        go_on.set()
        await busy.settle()
        assert (busy.statuses, b"connection: close" in busy.answers[0]) == ([200], True)
        # The second is not answered, and its client is let know in order.
        assert busy.transport.ended

    run(work)


def test_an_answer_that_has_begun_when_the_server_stops_is_ended_and_then_the_connection() -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, length(2)))
            await send(body(b"o", more=True))
            await go_on.wait()
            await send(body(b"k"))

        direct = Direct(app)
        await direct.send(request())
        direct.protocol.shutdown()
        go_on.set()
        await direct.settle()
        assert (direct.transport.written[-2:], direct.transport.closed) == (b"ok", True)

    run(work)


def test_an_application_that_is_cancelled_at_the_end_leaves_a_503_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def answers_at_last(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send(start(503, length(0)))
            await send(body())

    async def work() -> None:
        for one in (app, answers_at_last):
            direct = Direct(one)
            await direct.send(request("POST", Content_Length="100000"))
            direct.protocol.shutdown()
            (task,) = direct.state.tasks
            task.cancel()
            await direct.settle()
            assert (direct.statuses, direct.transport.closed) == ([503], True)

    run(work)
    assert caplog.records == []


def test_names_of_header_fields_are_kept_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "_MOST_NAMES", 3)
    monkeypatch.setattr(response, "_names", {})

    async def work() -> None:
        fields = [(b"X-%d" % number, b"y") for number in range(5)]
        direct = Direct(sending(start(204, *fields), body()))
        await direct.send(request())
        assert all(b"\r\nx-%d: y\r\n" % number in direct.transport.written for number in range(5))
        assert 0 < len(response._names) <= 3

    run(work)
