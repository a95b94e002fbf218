"""uvicorn's HTTP protocol with what it lacks around it.

uvicorn is told to use it by ``Config(http="service.server.protocol:HttpProtocol")``. It stands between the event loop and
uvicorn's own protocol, which speaks to a ``FileTransport``, so that files are sent and large bodies are received past
it. And it sees to what a server on an open network has to bound: how long a connection may be idle before its first
request too or while it sends a head, how large a head may be, and in what shape an answer comes to what is no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.responses import Response

from service.http.errors import BadRequest, HeadTooLarge, Problem, to_response
from service.server.transport import STATE_KEY, FileTransport

# The load balancer's own limit of a request's head; and so much may be left of a body that was refused unread.
HEAD_BYTES = 64 * 1024
UNREAD_BYTES = 64 * 1024
# Requests that are parsed are held in memory, each at some hundred times its size. No more than these come in one read,
# unless it is a large one for a body.
MOST_IN_LINE = 1000
# Beyond the keep-alive timeout, after which uvicorn closes an idle connection itself.
GRACE_SECONDS = 10.0

# Of a large upload, so much comes in through the server, and the rest past it.
FIRST_BYTES = 16 * 1024
READ_BYTES = 256 * 1024
# So much of a body arrives at most before the application is given a piece of it: what the server holds for it, and what
# one read brings. More is none: chunk extensions or trailers without an end.
BODY_BYTES = READ_BYTES + 2 * 64 * 1024

_log = logging.getLogger("service.protocol")
# All connections share it: what has been read is handed on before the next read.
_buffer = memoryview(bytearray(READ_BYTES))
_first_buffer = _buffer[:FIRST_BYTES]


class HttpProtocol(asyncio.BufferedProtocol):
    """One connection. The arguments are those of uvicorn's own protocols."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        loop = self._loop = _loop or asyncio.get_running_loop()
        # uvicorn copies what is in here into the scope of each request, when the request's first bytes have arrived.
        state = self._state = _State(app_state)
        self._make: Callable[[], asyncio.Protocol] = lambda: _http_protocol()(
            config=config, server_state=server_state, app_state=state, _loop=loop
        )
        self._protocol = self._make()
        self._transport: FileTransport | None = None
        self._buffer = _buffer
        self._idle_seconds = config.timeout_keep_alive + GRACE_SECONDS
        self._idle_timer: asyncio.TimerHandle | None = None
        self._progress: tuple[int, ...] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        if _is_possible(transport):
            self._transport = FileTransport(transport, self._loop)
            self._transport.on_next_request = self._renew
            self._transport.on_broken_body = self._break_body
            self._state[STATE_KEY] = transport = self._state.transport = self._transport
            self._idle_timer = self._loop.call_later(self._idle_seconds, self._check_idle)
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        transport = self._transport
        self._buffer = _first_buffer if transport is not None and transport.expects_head else _buffer
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        transport, buffer = self._transport, self._buffer
        data = bytes(buffer[:nbytes])
        if transport is None:
            self._protocol.data_received(data)
            return
        if transport.is_dropping:
            return
        if transport.is_taken:
            _log.error("bytes of a body have arrived twice")
            transport.abort()
            return
        if transport.expects_head:
            # Checked before the next bytes are counted: what came together with a head may belong to its body.
            if transport.head_bytes > HEAD_BYTES + UNREAD_BYTES:
                self._refuse(HeadTooLarge(f"The request's head is too large; allowed: {HEAD_BYTES} bytes."))
                return
            transport.head_bytes += nbytes
            if nbytes == len(buffer):
                # What follows may be taken by the application, which is about to see the head.
                transport.hold_reading()
                self._loop.call_soon(transport.go_on_reading)
        else:
            transport.body_bytes += nbytes
            if transport.body_bytes > BODY_BYTES:
                self._refuse(HeadTooLarge("What comes with the body is too large: trailers, or extensions of chunks."))
                return
        transport.on_own_words = self._refuse_garbage
        try:
            self._protocol.data_received(data)
        finally:
            transport.on_own_words = None

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
        if self._transport is not None:
            self._transport.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._protocol.connection_lost(exc)
        if self._transport is not None:
            self._transport.lost()

    def _renew(self) -> None:
        """Lets a new protocol serve the next request: the present one's parser still waits for a body."""
        self._protocol.connection_lost(None)
        self._protocol = self._make()
        assert self._transport is not None
        self._protocol.connection_made(self._transport)

    def _refuse_garbage(self) -> None:
        assert self._transport is not None
        if self._transport.in_line > MOST_IN_LINE:
            self._refuse(BadRequest(f"More than {MOST_IN_LINE} requests are in line here; wait for answers."))
        else:
            self._refuse(BadRequest("This is not a request of HTTP/1.1 that can be read."))

    def _break_body(self) -> None:
        """Tells the application, which would wait in vain for what can't be read."""
        self._protocol.connection_lost(None)

    def _refuse(self, problem: Problem) -> None:
        transport = self._transport
        assert transport is not None
        request_id = secrets.token_hex(16)
        fields = {"request_id": request_id, "status": problem.status, "reason": problem.detail}
        _log.info("no request", extra={"fields": fields})
        transport.end_with(_answer(problem, request_id))

    def _check_idle(self) -> None:
        transport = self._transport
        assert transport is not None
        left = self._idle_seconds
        if transport.is_busy:
            # Some waits of the server's for a client that takes nothing have no end.
            before, self._progress = self._progress, transport.progress()
            if before is not None and before == self._progress:
                transport.abort()
                return
        else:
            left -= self._loop.time() - transport.is_idle_since
            if left <= 0:
                transport.abort()
                return
        self._idle_timer = self._loop.call_later(left, self._check_idle)


class _State(dict[str, Any]):
    """What each request gets a copy of, which counts them."""

    transport: FileTransport | None = None

    def copy(self) -> dict[str, Any]:
        """Raises ValueError if there are too many, which the parser that asks takes for an error of the client's."""
        if self.transport is not None:
            self.transport.in_line += 1
            if self.transport.in_line > MOST_IN_LINE:
                raise ValueError("too many requests in line")
        return dict(self)


def _answer(problem: Problem, request_id: str) -> bytes:
    response = to_response(problem, request_id)
    head = [b"HTTP/1.1 %d %b" % (response.status_code, HTTPStatus(response.status_code).phrase.encode())]
    head += [b"%b: %b" % header for header in response.raw_headers]
    head += [b"x-request-id: %b" % request_id.encode(), b"connection: close"]
    return b"\r\n".join([*head, b"", bytes(response.body)])


def _is_possible(transport: asyncio.Transport) -> bool:
    """What is encrypted can't go from the file to the network as it is, nor the other way."""
    is_plain = transport.get_extra_info("sslcontext") is None
    return is_plain and hasattr(os, "sendfile") and transport.get_extra_info("socket") is not None


@cache
def _http_protocol() -> Callable[..., asyncio.Protocol]:
    """The class that uvicorn itself takes for ``http="httptools"``."""
    config = uvicorn.Config(Response(), http="httptools", ws="none", lifespan="off", log_config=None)
    config.load()
    return config.http_protocol_class
