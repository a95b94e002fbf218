"""What bounds a connection: its idle time, the size of a head, and the answer to what is no HTTP."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable

import pytest

from service.server.parser import HEAD_BYTES
from tests.service.file_server import names_on_disk, parts
from tests.service.harness import LIVENESS_SECONDS, PROBLEM, wait_until
from tests.service.live_api import Served, errors, requests
from tests.service.raw_http import Answer, Connection, ask, chunked, head

MIB = 1024 * 1024
LARGE = 24 * MIB


@pytest.fixture
def hasty(serve: Callable[..., Served]) -> Served:
    """A server that waits for a request, or for the rest of its head, for a second."""
    return serve(keep_alive_seconds=1, files_stall_seconds=1.0, connection={"head_seconds": 1.0})


def _check_refused(connection: Connection, status: int, slug: str) -> Answer:
    answer = connection.read("GET")
    assert (answer.status, answer.headers["content-type"], answer.closes) == (status, PROBLEM, True)
    found = answer.json()
    assert (found["status"], found["type"]) == (status, f"urn:problem:{slug}")
    assert found["instance"] == answer.headers["x-request-id"]
    assert connection.socket.recv(1) == b""
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /arquivos HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\n12345",
        b"no HTTP at all\r\n" * 100_000,
    ],
    ids=["a byte", "TLS", "a version", "a header", "a length", "much"],
)
def test_what_is_no_http_is_answered_like_every_error(
    served: Served, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Connection(served.port) as connection:
        connection.send(sent)
        answer = _check_refused(connection, 400, "bad-request")
    (fields,) = (vars(record)["fields"] for record in caplog.records if record.name == "service.refusals")
    assert fields["request_id"] == answer.headers["x-request-id"]
    assert errors(caplog) == []


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        (b"GET /health/live HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (head("GET", "/health/live", Host="a b/<>"), 400, "bad-request"),
        (b"GET /health/live\r\n\r\n", 400, "bad-request"),
        (b"POST /arquivos HTTP/1.0\r\nHost: a\r\n\r\n", 411, "length-required"),
        (head("POST", "/arquivos", Transfer_Encoding="xchunked") + b"1\r\nx\r\n0\r\n\r\n", 501, "not-implemented"),
        (b"GET /health/live HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version-not-supported"),
    ],
)
def test_what_no_route_sees_is_answered_like_every_error_and_once(
    served: Served, sent: bytes, status: int, slug: str
) -> None:
    with Connection(served.port) as connection:
        connection.send(sent)
        answer = _check_refused(connection, status, slug)
        assert answer.headers["date"]
    assert names_on_disk(served.store.root) == set()


def test_a_client_that_closes_its_sending_side_gets_its_answer(served: Served) -> None:
    """Kludex/uvicorn#1264: its upload was stored, and it never heard of it."""
    for size in (5, MIB):
        with Connection(served.port) as connection:
            connection.send(head("POST", "/arquivos", size) + bytes(size))
            connection.end_sending()
            answer = connection.read()
            assert (answer.status, answer.json()["size"]) == (201, size)
            assert connection.socket.recv(1) == b""


@pytest.mark.parametrize("length", [1000, MIB, None])
def test_a_body_that_trickles_gets_408_and_stores_nothing(
    serve: Callable[..., Served], length: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand of them would hold every upload's place for hours, a byte at a time."""
    caplog.set_level("INFO")
    served = serve(connection={"rate_seconds": 0.5})
    with Connection(served.port) as connection:
        coding = {"Transfer_Encoding": "chunked"} if length is None else {}
        connection.send(head("POST", "/arquivos", length, **coding) + (chunked(b"x") if length is None else b"x"))
        answer = _check_refused(connection, 408, "body-stalled")
        assert "too slowly" in answer.json()["detail"]
    wait_until(lambda: len(requests(caplog)) == 1)
    wait_until(lambda: parts(served.store.root) == [])
    assert names_on_disk(served.store.root) == set()
    assert errors(caplog) == []


def test_a_chunk_that_makes_no_sense_is_answered_like_every_error(served: Served) -> None:
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked") + b"xyz\r\nabc\r\n0\r\n\r\n")
        answer = connection.read()
        assert (answer.status, answer.headers["content-type"]) == (400, PROBLEM)


@pytest.mark.parametrize("target", ["/arquivos", "/ingest"])
def test_a_body_that_stops_to_make_sense_is_answered_at_once_and_stores_nothing(
    served: Served, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The application has begun to wait for more by then."""
    caplog.set_level("INFO")
    with Connection(served.port) as connection:
        connection.send(head("POST", target, Transfer_Encoding="chunked", Content_Type="application/json"))
        connection.send(chunked(b"x" * 100_000 if target == "/arquivos" else b"{"))
        wait_until(lambda: sum(served.received) > 0)
        began = time.monotonic()
        connection.send(b"xyz\r\nabc\r\n0\r\n\r\n")
        _check_refused(connection, 400, "bad-request")
        assert time.monotonic() - began < 10  # a client that stalls has longer
    wait_until(lambda: len(requests(caplog)) == 1)
    wait_until(lambda: parts(served.store.root) == [])
    assert names_on_disk(served.store.root) == set()
    assert errors(caplog) == []
    assert ask(served.port, "GET", "/health/live").status == 200


@pytest.mark.parametrize("piece", [MIB, 10_000])
def test_a_head_that_never_ends_is_refused(served: Served, piece: int) -> None:
    with Connection(served.port) as connection:
        connection.send(b"GET /health/live HTTP/1.1\r\nHost: test\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * MIB // piece):
                connection.send(b"X-Long: " + b"x" * (piece - 10) + b"\r\n")
        _check_refused(connection, 431, "head-too-large")
    assert ask(served.port, "GET", "/health/live").status == 200


def test_a_head_as_large_as_the_load_balancer_lets_pass_is_read(served: Served) -> None:
    long = {f"X-Long-{number}": "x" * 8000 for number in range(HEAD_BYTES // 8100)}
    with Connection(served.port) as connection:
        for _ in range(5):
            assert connection.ask("GET", "/health/live", b"", **long).status == 200


def test_what_was_pipelined_is_not_taken_for_one_large_head(served: Served) -> None:
    count = 4 * HEAD_BYTES // 2000
    request = head("GET", "/health/live", X_Long="x" * 2000)
    with Connection(served.port) as connection:
        connection.send(request * count)
        received = connection.socket.makefile("rb")
        found = b""
        while found.count(b'{"status":"ok"}') < count:
            piece = received.read1()
            assert piece, found[-500:]
            found += piece
        received.close()


def test_a_connection_without_a_request_ends(hasty: Served) -> None:
    with Connection(hasty.port) as silent, Connection(hasty.port) as unfinished, Connection(hasty.port) as trickling:
        unfinished.send(b"GET / HTTP/1.1\r\nHost: te")
        with contextlib.suppress(ConnectionError):
            trickling.send(b"GET / HTTP/1.1\r\nX-Slow: ")
            for _ in range(30):
                trickling.send(b"x")
                time.sleep(0.1)
        for connection in (silent, unfinished, trickling):
            with contextlib.suppress(ConnectionError):
                assert connection.socket.recv(1) == b""


def test_a_connection_that_is_idle_after_a_request_ends(hasty: Served) -> None:
    with Connection(hasty.port) as connection:
        assert connection.ask("GET", "/health/live").status == 200
        assert connection.socket.recv(1) == b""


def test_a_request_may_take_longer_than_a_connection_may_be_idle(hasty: Served) -> None:
    with Connection(hasty.port) as connection:
        connection.send(head("POST", "/arquivos", 25))
        for _ in range(25):
            connection.send(b"x")
            time.sleep(0.1)
        assert connection.read().status == 201


def test_a_client_that_stops_to_read_a_file_loses_the_connection(
    hasty: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    target, _ = hasty.add(LARGE)
    with Connection(hasty.port) as connection:
        connection.send(head("GET", target))
        wait_until(lambda: any(record.name == "service.request" for record in caplog.records))
        (fields,) = (vars(record)["fields"] for record in caplog.records if record.name == "service.request")
        assert fields["bytes_out"] <= LARGE
    assert errors(caplog) == []


def test_a_client_that_reads_a_file_slowly_gets_all_of_it(hasty: Served) -> None:
    target, content = hasty.add(LARGE)
    with Connection(hasty.port) as connection:
        connection.send(head("GET", target))
        # Less in each second than the sockets hold: the server's own may not be writable for several.
        found = bytearray()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            found += connection.socket.recv(64 * 1024)
            time.sleep(0.1)
        while len(found) < LARGE:
            piece = connection.socket.recv(MIB)
            assert piece, len(found)
            found += piece
        assert found.endswith(content[-MIB:])


def test_an_answer_leaves_in_one_piece(served: Served) -> None:
    target, content = served.add(1000)
    with Connection(served.port) as connection:
        for method, expected in (("GET", content), ("HEAD", b"")):
            connection.send(head(method, target))
            received = connection.socket.recv(MIB)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.partition(b"\r\n\r\n")[2] == expected


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_upgrade_is_ignored_and_the_body_is_taken_and_never_run(
    served: Served, framing: str, upgrade: str, at_once: bool
) -> None:
    """Java's HttpClient asks for h2c with each request (Kludex/uvicorn#2722; RFC 9110, section 7.8)."""
    victim, content = served.add(100)
    stored = head("DELETE", victim)
    fields = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAEAAEAAAAIAAAAA"}
    if framing == "chunked":
        request, body = head("POST", "/arquivos", Transfer_Encoding="chunked", **fields), chunked(stored) + b"0\r\n\r\n"
    else:
        request, body = head("POST", "/arquivos", len(stored), **fields), stored
    with Connection(served.port) as connection:
        if at_once:
            connection.send(request + body)
        else:
            connection.send(request)
            connection.send(body)
        answer = connection.read()
        assert (answer.status, answer.closes) == (201, False)
        assert connection.ask("GET", answer.headers["location"]).body == stored
        assert connection.ask("GET", victim).body == content


def test_an_upgrade_without_a_body_is_ignored_and_the_connection_goes_on(served: Served) -> None:
    with Connection(served.port) as connection:
        for _ in range(2):
            answer = connection.ask("GET", "/arquivos", b"", Connection="Upgrade", Upgrade="h2c")
            assert (answer.status, answer.closes) == (200, False)


def test_a_whole_request_is_answered_before_what_can_not_be_read_behind_it(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for request in (head("GET", "/arquivos") * 3, head("POST", "/arquivos", 5) + b"hello"):
        count = request.count(b"HTTP/1.1")
        with Connection(served.port) as connection:
            connection.send(request + b"\r\n\x01\r\n\r\n")
            received = connection.socket.makefile("rb").read()
            statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
            assert statuses[-1] == b"400"
            assert statuses[:-1] in ([b"200"] * count, [b"201"] * count)
    assert errors(caplog) == []


def test_any_number_of_requests_in_line_is_answered_in_order(served: Served) -> None:
    """They wait as bytes, and those that there is no room for wait with the client."""
    count = 1000
    with Connection(served.port) as connection:
        connection.send(head("POST", "/arquivos", 5))
        sending = threading.Thread(
            target=connection.send, args=(b"hello" + head("GET", "/health/live") * count + b"no HTTP\r\n\r\n",)
        )
        sending.start()
        received = connection.socket.makefile("rb").read()
        sending.join()
        statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
        assert statuses == [b"201", *[b"200"] * count, b"400"]


def test_requests_are_not_read_faster_than_they_are_answered(served: Served) -> None:
    """What is not read yet stays with the client: the sockets take some, the process does not."""
    request = head("GET", "/openapi.json", X_Long="x" * 1000)
    answered = 0
    with Connection(served.port) as connection:
        connection.socket.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            for _ in range(40):
                connection.socket.sendall(request * 1000)
                answered += 1000
        assert answered < 40_000


def test_trailers_without_an_end_are_refused(served: Served) -> None:
    for trailer in (b"a: b\r\n", b"a: " + b"x" * 10_000 + b"\r\n"):
        with Connection(served.port) as connection:
            connection.send(head("POST", "/arquivos", Transfer_Encoding="chunked") + chunked(b"x") + b"0\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(4 * MIB // len(trailer * 100)):
                    connection.send(trailer * 100)
            _check_refused(connection, 431, "head-too-large")


def test_a_client_that_reads_no_answer_loses_the_connection_without_a_fault(
    hasty: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Connection(hasty.port) as connection:
        connection.socket.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(200):
                connection.socket.sendall(head("GET", "/openapi.json") * 50)
        connection.socket.settimeout(LIVENESS_SECONDS)
        with pytest.raises(ConnectionError):
            while True:
                connection.send(b"G")
                time.sleep(0.1)
    time.sleep(0.5)  # for what was under way to end; less only makes the test milder
    assert requests(caplog)
    assert errors(caplog) == []
