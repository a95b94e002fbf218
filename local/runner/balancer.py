"""The load balancer: one public port, healthy targets behind it, bodies of any size streamed both ways.

It plays the Application Load Balancer of the deployed listener. An HTTPS listener is served as plain HTTP on the same
port, as no one machine has the certificate. WebSockets and listener rules are not played.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections.abc import Sequence

import h11

from local.runner.exchange import Exchange, Headers, TargetFailed
from local.runner.web import Receive, Scope, Send, WebServer, bind_local

# RFC 9110, 7.6.1: these concern one connection, and so do the fields that Connection names.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_TITLES = {400: "Bad Request", 502: "Bad Gateway", 503: "Service Unavailable"}


class Target:
    """One task in one target group."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.healthy = False
        self._outstanding = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def outstanding(self) -> int:
        """Requests in flight."""
        return self._outstanding

    def take(self) -> None:
        self._outstanding += 1
        self._idle.clear()

    def release(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._idle.set()

    async def drained(self, timeout_seconds: float) -> bool:
        """Waits until no request is in flight; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


class Balancer:
    """Sends each request to the healthy target with the fewest requests in flight.

    `forward_to` says which target groups the listener has, in order: a later one is asked only while no earlier one has
    a healthy target. With none the port stays bound and answers 503. A target that does not accept the connection is
    passed over; one that fails later is a 502, or a cut connection when the response has begun.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._groups: dict[str, list[Target]] = {}
        self._route: tuple[str, ...] = ()
        self._server: WebServer | None = None
        self._turn = itertools.count()

    @property
    def port(self) -> int:
        return self._port

    @property
    def route(self) -> tuple[str, ...]:
        return self._route

    async def start(self) -> None:
        """Raises RunnerError when the port is taken."""
        sockets = bind_local(self._port)
        self._port = sockets[0].getsockname()[1]
        self._server = WebServer(self, sockets)
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Accepts no more; requests in flight have the grace to end."""
        if self._server is not None:
            await self._server.stop(grace_seconds)

    def forward_to(self, target_group_arns: Sequence[str]) -> None:
        self._route = tuple(dict.fromkeys(target_group_arns))

    def register(self, target_group_arn: str, target: Target) -> None:
        """Makes a target known; it gets requests from when it is marked healthy."""
        self._groups.setdefault(target_group_arn, []).append(target)

    def deregister(self, target_group_arn: str, target: Target) -> None:
        """Sends the target no further request; those in flight go on."""
        targets = self._groups.get(target_group_arn, [])
        if target in targets:
            targets.remove(target)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace_id = _trace_id(scope)
        if not self._route:
            await _send_problem(send, 503, "no service listens", trace_id)
            return
        tried: list[Target] = []
        while target := self._choose(tried):
            tried.append(target)
            target.take()
            try:
                exchange = await Exchange.open(target.host, target.port)
            except OSError:
                target.release()
                continue
            except BaseException:
                target.release()
                raise
            try:
                await self._forward(exchange, trace_id, scope, receive, send)
            finally:
                exchange.close()
                target.release()
            return
        if tried:
            await _send_problem(send, 502, "no healthy task accepts connections", trace_id)
        else:
            await _send_problem(send, 503, "no task is healthy", trace_id)

    def _choose(self, tried: Sequence[Target]) -> Target | None:
        for arn in self._route:
            healthy = [target for target in self._groups.get(arn, ()) if target.healthy and target not in tried]
            if healthy:
                turn = next(self._turn) % len(healthy)
                return min(healthy[turn:] + healthy[:turn], key=lambda target: target.outstanding)
        return None

    async def _forward(self, exchange: Exchange, trace_id: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers, has_body, expects = _request_headers(scope, self._port, trace_id)
        try:
            await exchange.send_head(scope["method"].encode(), target, headers)
        except h11.LocalProtocolError as error:
            await _send_problem(send, 400, str(error), trace_id)
            return
        except OSError:
            pass  # what the target said before it closed is still to be read
        upload = _Upload(exchange, receive, has_body, expects)
        pump = asyncio.create_task(upload.run())
        started = False
        try:
            response = await exchange.response()
            started = True
            await send(_response_start(response, close=expects and not upload.invited))
            async for chunk in exchange.body():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TargetFailed as error:
            # Once the response has begun, returning without its end makes the server cut the client's connection.
            if not started and not upload.client_gone:
                await _send_problem(send, 502, f"the task failed to answer: {error}", trace_id)
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump


class _Upload:
    """Carries the request's body to the target, then watches for the client going away."""

    def __init__(self, exchange: Exchange, receive: Receive, has_body: bool, expects: bool) -> None:
        self._exchange = exchange
        self._receive = receive
        self._has_body = has_body
        self._expects = expects
        self._finished = False
        self.invited = False
        self.client_gone = False

    async def run(self) -> None:
        if self._expects:
            # Asking for the body is what makes the server invite the client to send it.
            await self._exchange.continued()
            self.invited = True
        try:
            if not self._has_body:
                await self._end()
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.client_gone = True
                    self._exchange.close()
                    return
                if not self._finished:
                    await self._exchange.send_data(message.get("body", b""))
                    if not message.get("more_body", False):
                        await self._end()
        except (OSError, h11.LocalProtocolError):
            # The target takes no more. Its answer, if it gave one, is being read by the other side.
            return

    async def _end(self) -> None:
        await self._exchange.send_end()
        self._finished = True


def _request_headers(scope: Scope, port: int, trace_id: bytes) -> tuple[Headers, bool, bool]:
    """What the target gets, whether a body follows, and whether the client waits for `100 Continue`."""
    named = {
        token.strip().lower()
        for name, value in scope["headers"]
        if name == b"connection"
        for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named | {b"x-forwarded-proto", b"x-forwarded-port", b"x-amzn-trace-id", b"x-forwarded-for"}
    given = dict(scope["headers"])
    chunked = b"transfer-encoding" in given
    if chunked:
        dropped |= {b"content-length"}  # RFC 9112, 6.3: a message with both is framed by Transfer-Encoding
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    if b"host" not in given:
        headers.append((b"host", f"127.0.0.1:{port}".encode()))
    client = scope["client"][0].encode() if scope.get("client") else b"127.0.0.1"
    forwarded_for = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
    headers += [
        (b"x-forwarded-for", b", ".join([*forwarded_for, client])),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-port", str(port).encode()),
        (b"x-amzn-trace-id", trace_id),
        (b"connection", b"close"),
    ]
    if chunked:
        headers.append((b"transfer-encoding", b"chunked"))
    has_body = chunked or given.get(b"content-length", b"0").strip() != b"0"
    return headers, has_body, has_body and given.get(b"expect", b"").lower() == b"100-continue"


def _response_start(response: h11.Response, *, close: bool) -> dict[str, object]:
    raw = response.headers.raw_items()
    named = {
        token.strip().lower() for name, value in raw if name.lower() == b"connection" for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named
    if response.status_code == 304:
        # uvicorn would wait for as many bytes as a 304 says that a 200 would have had.
        dropped |= {b"content-length"}
    headers = [(name, value) for name, value in raw if name.lower() not in dropped]
    if close:
        # A client that was never invited to send its body may or may not send it: the next request could not be told.
        headers.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


def _trace_id(scope: Scope) -> bytes:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html"""
    fresh = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}".encode()
    given = next((value for name, value in scope["headers"] if name == b"x-amzn-trace-id"), b"")
    return b"Self=" + fresh + b";" + given if b"Root=" in given else b"Root=" + fresh


async def _send_problem(send: Send, status: int, detail: str, trace_id: bytes) -> None:
    problem = {
        "type": "about:blank",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
        "instance": trace_id.decode("latin-1"),
    }
    content = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
