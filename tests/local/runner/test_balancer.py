from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from local.runner.balancer import Balancer, Target

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def balancer(anyio_backend: str) -> AsyncIterator[Balancer]:
    balancer = Balancer(0)
    await balancer.start()
    balancer.forward_to(["group"])
    yield balancer
    await balancer.stop(1)


@contextlib.asynccontextmanager
async def target(balancer: Balancer, handler: Handler, group: str = "group") -> AsyncIterator[Target]:
    """A healthy target that handles raw connections."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    found = Target("127.0.0.1", server.sockets[0].getsockname()[1])
    balancer.register(group, found)
    found.healthy = True
    yield found
    balancer.deregister(group, found)
    server.close()
    await server.wait_closed()


def answering(response: bytes, seen: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(response)
        await writer.drain()

    return handler


async def request(balancer: Balancer, method: str = "GET", path: str = "/", **more: object) -> httpx2.Response:
    async with httpx2.AsyncClient(verify=False, timeout=120) as client:
        return await client.request(method, f"http://127.0.0.1:{balancer.port}{path}", **more)  # type: ignore[arg-type]


async def raw(balancer: Balancer, data: bytes) -> bytes:
    """What the balancer answers to exactly these bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    return answer


async def test_no_listener_is_a_503_problem(balancer: Balancer) -> None:
    async with target(balancer, answering(OK)):
        balancer.forward_to([])
        response = await request(balancer)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "no service listens"
    assert response.json().keys() == {"type", "title", "status", "detail", "instance"}


async def test_only_healthy_targets_get_requests(balancer: Balancer) -> None:
    async with target(balancer, answering(OK)) as first:
        assert (await request(balancer)).status_code == 200
        first.healthy = False
        response = await request(balancer)
    assert (response.status_code, response.json()["detail"]) == (503, "no task is healthy")


async def test_the_target_with_the_fewest_requests_in_flight_is_chosen(balancer: Balancer) -> None:
    release = asyncio.Event()
    served = {"busy": 0, "free": 0}

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served["busy"] += 1
        await release.wait()
        writer.write(OK)

    async def free(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served["free"] += 1
        writer.write(OK)

    async with target(balancer, busy):
        waiting = asyncio.create_task(request(balancer))
        while not served["busy"]:
            await asyncio.sleep(0.01)
        async with target(balancer, free):
            for _ in range(5):
                assert (await request(balancer)).status_code == 200
            assert served == {"busy": 1, "free": 5}
            release.set()
            assert (await waiting).status_code == 200


async def test_a_target_that_does_not_accept_is_passed_over(balancer: Balancer) -> None:
    async with target(balancer, answering(OK)) as gone:
        pass
    balancer.register("group", gone)
    assert (await request(balancer)).status_code == 502
    async with target(balancer, answering(OK)):
        for _ in range(4):
            assert (await request(balancer)).status_code == 200
    assert gone.outstanding == 0


async def test_a_later_group_is_asked_only_while_no_earlier_one_has_a_healthy_target(balancer: Balancer) -> None:
    balancer.forward_to(["new", "group"])
    async with (
        target(balancer, answering(OK)),
        target(balancer, answering(OK.replace(b"ok", b"no")), group="new") as new,
    ):
        new.healthy = False
        assert (await request(balancer)).text == "ok"
        new.healthy = True
        assert (await request(balancer)).text == "no"


async def test_a_target_that_dies_before_it_answers_is_a_502(balancer: Balancer) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with target(balancer, die):
        response = await request(balancer)
    assert (response.status_code, response.json()["title"]) == (502, "Bad Gateway")


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_a_response_that_is_cut_short_is_never_passed_off_as_whole(balancer: Balancer, framing: bytes) -> None:
    async with target(balancer, answering(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n4\r\nhalf\r\n")):
        with pytest.raises(httpx2.RemoteProtocolError):
            await request(balancer)


async def test_headers_arrive_exact_and_hop_by_hop_ones_do_not(balancer: Balancer) -> None:
    seen: list[bytes] = []
    answer = (
        b"HTTP/1.1 201 Created\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\nX-Odd: \xe9 \r\n"
        b"Keep-Alive: timeout=5\r\nConnection: X-Private\r\nX-Private: 1\r\nContent-Length: 3\r\n\r\nraw"
    )
    ask = (
        b"GET /a%2Fb?c=%20&d HTTP/1.1\r\nHost: files.example\r\nAccept: a\r\nAccept: b\r\nX-Mine: 1\r\nTE: trailers\r\n"
        b"Connection: close, X-Mine\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: gopher\r\n\r\n"
    )
    async with target(balancer, answering(answer, seen)):
        response = await raw(balancer, ask)
    head = seen[0].decode().splitlines()
    assert head[0] == "GET /a%2Fb?c=%20&d HTTP/1.1"
    assert head[1:5] == ["host: files.example", "accept: a", "accept: b", "x-forwarded-for: 1.2.3.4, 127.0.0.1"]
    assert head[5:7] == ["x-forwarded-proto: http", f"x-forwarded-port: {balancer.port}"]
    assert re.fullmatch(r"x-amzn-trace-id: Root=1-[0-9a-f]{8}-[0-9a-f]{24}", head[7])
    assert head[8:] == ["connection: close", ""]
    lines = response.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 201 Created"
    assert [line.lower() for line in lines[1:]] == [
        b"set-cookie: a=1",
        b"set-cookie: b=2",
        b"content-encoding: gzip",
        b"x-odd: \xe9",
        b"content-length: 3",
        b"connection: close",
        b"",
        b"raw",
    ]


async def test_a_given_trace_is_kept_under_an_own_mark(balancer: Balancer) -> None:
    seen: list[bytes] = []
    async with target(balancer, answering(OK, seen)):
        await request(balancer, headers={"X-Amzn-Trace-Id": "Root=1-2-3;Sampled=1"})
    assert re.search(rb"x-amzn-trace-id: Self=1-[0-9a-f-]+;Root=1-2-3;Sampled=1\r\n", seen[0])


async def test_head_keeps_the_length_that_get_would_have(balancer: Balancer) -> None:
    async with target(balancer, answering(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")):
        response = await request(balancer, "HEAD")
    assert (response.status_code, response.headers["content-length"], response.content) == (200, "12345", b"")


async def test_a_304_that_tells_a_length_has_no_body(balancer: Balancer) -> None:
    answer = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 12345\r\n\r\n"
    async with target(balancer, answering(answer)), httpx2.AsyncClient(verify=False) as client:
        for _ in range(2):  # the second one needs the connection to be in order after the first
            response = await client.get(f"http://127.0.0.1:{balancer.port}/")
            assert (response.status_code, response.headers["etag"], response.content) == (304, "x", b"")


async def test_a_body_without_a_length_is_passed_on_in_chunks(balancer: Balancer) -> None:
    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head and b"content-length" not in head
        body = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with target(balancer, until_closed):
        response = await request(balancer, "POST", content=parts())
    assert response.status_code == 200
    assert b"one" in response.content and b"two" in response.content


async def test_an_early_answer_reaches_a_client_that_is_still_sending(balancer: Balancer) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()

    async with target(balancer, refuse):
        response = await request(balancer, "POST", content=bytes(8 * 1024 * 1024))
    assert (response.status_code, response.text) == (413, "big")


async def test_expect_100_asks_the_target_before_the_client_sends(balancer: Balancer) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"expect: 100-continue" in head
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()

    ask = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    async with target(balancer, refuse):
        answer = await raw(balancer, ask)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_expect_100_lets_the_client_send_once_the_target_wants_the_body(balancer: Balancer) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with target(balancer, take):
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).startswith(b"HTTP/1.1 100 ")
        writer.write(b"hello")
        assert (await asyncio.wait_for(reader.readuntil(b"hello"), 120)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize("moment", ["while it waits", "while it receives"])
async def test_a_client_that_goes_away_ends_the_request_at_the_target(balancer: Balancer, moment: str) -> None:
    ended = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if moment == "while it receives":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        ended.set()

    async with target(balancer, endless) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if moment == "while it receives":
            await reader.readuntil(b"beginning")
        while not found.outstanding:
            await asyncio.sleep(0.01)
        writer.close()
        await asyncio.wait_for(ended.wait(), 120)
        assert await found.drained(10)


async def test_draining_waits_for_what_is_in_flight_and_sends_nothing_new(balancer: Balancer) -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(OK)

    async with target(balancer, slow) as draining:
        waiting = asyncio.create_task(request(balancer))
        while not draining.outstanding:
            await asyncio.sleep(0.01)
        balancer.deregister("group", draining)
        assert (await request(balancer)).status_code == 503
        assert not await draining.drained(0.05)
        release.set()
        assert await draining.drained(10)
        assert (await waiting).text == "ok"


async def test_bodies_stream_both_ways_and_memory_does_not_grow_with_them(balancer: Balancer) -> None:
    count, block = 192, bytes(1024 * 1024)
    size, whole = count * len(block), hashlib.sha256()
    for _ in range(count):
        whole.update(block)

    async def echo_sizes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        digest, left = hashlib.sha256(), size
        while left and (data := await reader.read(256 * 1024)):
            digest.update(data)
            left -= len(data)
        writer.write(b"HTTP/1.1 200 OK\r\nX-Digest: %s\r\n" % digest.hexdigest().encode())
        writer.write(b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(count):
            writer.write(block)
            await writer.drain()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield block

    async with target(balancer, echo_sizes), httpx2.AsyncClient(verify=False, timeout=120) as client:
        before = _peak_memory()
        ask = client.stream(
            "POST", f"http://127.0.0.1:{balancer.port}/", content=body(), headers={"Content-Length": str(size)}
        )
        async with ask as response:
            received = 0
            async for chunk in response.aiter_raw():
                received += len(chunk)
        assert received == size
        assert response.headers["x-digest"] == whole.hexdigest()
    # Client, balancer and target share this process.
    assert _peak_memory() - before < 48 * 1024 * 1024


async def test_a_request_that_http_does_not_allow_is_a_400(balancer: Balancer) -> None:
    async with target(balancer, answering(OK)):
        answer = await raw(balancer, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["status"] == 400


def _peak_memory() -> int:
    """The largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
