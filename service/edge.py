"""The outermost layer of the API: what every request gets, whatever route it takes and however it ends.

- a request id, taken from ``X-Request-ID`` or made, answered and logged
- one log line
- an answer, also when the process is about to end
- ``Connection: close`` while draining, so that clients move to another task before this one's connections end
- a lingering close when a body is refused unread: closing at once would reset the connection, and the client, still
  sending, would never see the answer that says why (RFC 9112, section 9.6)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Unavailable, to_response
from service.lifecycle import Lifecycle

LINGER_SECONDS = 2.0
# So much of a refused body is read and dropped without closing the connection.
SMALL_BODY_BYTES = 64 * 1024

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACE_ROOT = re.compile(r"Root=([0-9A-Za-z-]{1,64})", re.ASCII)
_log = logging.getLogger("service.request")


class Edge:
    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._lifecycle)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        error: BaseException | None = None
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError as cancelled:
            if not self._lifecycle.draining:
                raise
            # The server gives up on requests that outlast the stop timeout; this is the last word they get.
            error = cancelled
            await exchange.answer(to_response(Unavailable("The service is stopping; try again."), exchange.request_id))
        except Exception as failure:
            error = failure  # answered already, if it still could be
        finally:
            exchange.log(error)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, lifecycle: Lifecycle) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._lifecycle = lifecycle
        self._began = time.perf_counter()
        self._status = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._linger = False
        self._declared: int | None = None
        self._body_ended = True
        self._trace: str | None = None
        self.request_id = ""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                if _REQUEST_ID.fullmatch(value):
                    self.request_id = value.decode()
            elif name == b"content-length":
                self._declared = int(value)
                self._body_ended = self._declared == 0
            elif name == b"transfer-encoding":
                self._body_ended = False
            elif name == b"x-amzn-trace-id":
                found = _TRACE_ROOT.search(value.decode("latin-1"))
                self._trace = found[1] if found else None
        self.request_id = self.request_id or secrets.token_hex(16)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_in += len(message.get("body", b""))
            self._body_ended = not message.get("more_body", False)
        else:
            self._body_ended = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            # A client that has stalled is not about to send what would reset the connection.
            self._linger = self._status != 408 and self._has_much_unread()
            if (self._linger or self._lifecycle.draining) and all(name != b"connection" for name, _ in headers):
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
            return
        if message["type"] == "http.response.body":
            if self._scope["method"] != "HEAD":
                self._bytes_out += len(message.get("body", b""))
            if self._linger and not message.get("more_body", False):
                await self._send({**message, "more_body": True})
                await self._drop_body()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def answer(self, response: ASGIApp) -> None:
        """Sends ``response`` if none was begun."""
        if not self._status:
            await response(self._scope, self.receive, self.send)

    def log(self, error: BaseException | None) -> None:
        route = self._scope.get("route")
        fields: dict[str, object] = {
            "request_id": self.request_id,
            "trace_id": self._trace,
            "route": getattr(route, "path", None),
            "method": self._scope["method"],
            "status": self._status,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "ms": round((time.perf_counter() - self._began) * 1000, 2),
        }
        _log.log(_level(self._status, error), "request", exc_info=error, extra={"fields": fields})

    def _has_much_unread(self) -> bool:
        if self._body_ended:
            return False
        return self._declared is None or self._declared - self._bytes_in > SMALL_BODY_BYTES

    async def _drop_body(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._body_ended:
                    await self.receive()


def _level(status: int, error: BaseException | None) -> int:
    if status == 503 and (error is None or isinstance(error, asyncio.CancelledError)):
        return logging.WARNING  # too busy, or about to stop: said on purpose
    return logging.ERROR if error is not None or status >= 500 else logging.INFO
