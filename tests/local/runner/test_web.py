from __future__ import annotations

import signal
import socket

import httpx2
import pytest

from local.runner import RunnerError
from local.runner.web import Receive, Scope, Send, WebServer, bind, bind_local

pytestmark = pytest.mark.anyio


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(scope["client"][0]).encode()})


async def test_leaves_the_signals_of_the_process_alone() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    server = WebServer(hello, bind_local(0))
    await server.start()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    await server.stop()


async def test_adds_no_header_and_believes_no_forwarded_address() -> None:
    sockets = bind_local(0)
    server = WebServer(hello, sockets)
    await server.start()
    port = sockets[0].getsockname()[1]
    async with httpx2.AsyncClient(verify=False) as client:
        response = await client.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "9.9.9.9"})
    await server.stop()
    assert response.headers.multi_items() == [("transfer-encoding", "chunked")]
    assert response.text == "127.0.0.1"


async def test_localhost_is_answered_whichever_address_it_means() -> None:
    sockets = bind_local(0)
    server = WebServer(hello, sockets)
    await server.start()
    hosts = {bound.family: bound.getsockname() for bound in sockets}
    async with httpx2.AsyncClient(verify=False) as client:
        for family, address in hosts.items():
            host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
            assert (await client.get(f"http://{host}:{address[1]}/")).status_code == 200
    await server.stop()
    assert len({address[1] for address in hosts.values()}) == 1


def test_a_taken_port_is_named_with_a_remedy() -> None:
    with bind(socket.AF_INET, "127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunnerError, match=f"port {port} on 127.0.0.1 is in use.*make up PORT="):
            bind_local(port)


def test_a_taken_port_on_the_other_localhost_is_a_mistake_too() -> None:
    sockets = bind_local(0)
    port = sockets[0].getsockname()[1]
    sockets[0].close()
    if len(sockets) == 2:  # a machine without IPv6 has no other localhost
        sockets[1].listen()
        with pytest.raises(RunnerError, match="on ::1 is in use"):
            bind_local(port)
        sockets[1].close()


def test_accepted_connections_do_not_wait_for_acknowledgements() -> None:
    with bind(socket.AF_INET, "127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
