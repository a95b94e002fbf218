"""The outermost layer of the API: what every request gets, whatever route it takes and however it ends.

- a request id, taken from ``X-Request-ID`` or made, answered and logged
- one log line, and its share of the metrics
- an answer to every error, in the one shape of ``errors``
- an answer, also when the process is about to end
- ``Connection: close`` while draining, so that clients move to another task before this one's connections end
- a lingering close when a body is refused unread: closing at once would reset the connection, and the client, still
  sending, would never see the answer that says why (RFC 9112, section 9.6)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
import time
from functools import lru_cache
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotImplementedCoding,
    Problem,
    Unavailable,
    forget_locals,
    storage_problem,
    to_response,
)
from service.http.fields import combine
from service.http.lifecycle import Lifecycle
from service.server.transport import LINGER_SECONDS, file_transport
from service.telemetry.logs import Lines, clock
from service.telemetry.metrics import Metrics
from service.thread_pool import CallHangs, PoolClosed

# So much of a refused body is read and dropped without closing the connection.
SMALL_BODY_BYTES = 64 * 1024
# Not a status of HTTP: it only ever reaches the log, since the client has gone.
CLIENT_GONE = 499

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
# The load balancer's own, which is the one to look for in its access log; else the caller's (W3C Trace Context).
_TRACE_ROOT = re.compile(rb"Root=([0-9A-Za-z-]{1,64})")
# A later version may add to it; of two, none is continued (the test harness of W3C, test_traceparent_duplicated).
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-[^,]*)?")
_log = logging.getLogger("service.request")
# A request id is no secret, and asking the kernel for each is a tenth of the cost of a small download.
_random = random.Random()


class Middleware:
    """``lines``, if given, takes the log lines of requests past the logging library, which costs more than they do."""

    def __init__(
        self, app: ASGIApp, lifecycle: Lifecycle, *, metrics: Metrics | None = None, lines: Lines | None = None
    ) -> None:
        self.app = app
        self.lifecycle = lifecycle
        self.metrics = metrics or Metrics("api")
        self.lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # With this Starlette's router raises its 404 and 405, to be answered here, in place of answering plain text.
        scope["app"] = self
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        error: BaseException | None = None
        try:
            if exchange.refusal is not None:
                raise exchange.refusal
            if exchange.upgrades and exchange.has_body:
                raise BadRequest("The body of a request with Upgrade can't be read here; send it without.")
            await self.app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            forget_locals(problem)
            await exchange.answer(problem)
        except ClientDisconnect:
            exchange.status = exchange.status or CLIENT_GONE
        except asyncio.CancelledError as cancelled:
            if not self.lifecycle.draining:
                raise
            # The server gives up on requests that outlast the stop timeout; this is the last word they get.
            error = cancelled
            await exchange.answer(_stopping(), may_linger=False)
        except Exception as failure:
            forget_locals(failure)
            answer, is_expected = _problem(failure, scope)
            error = None if is_expected else failure
            await exchange.answer(answer)
        finally:
            exchange.end(error)
            if exchange.transport is not None:
                exchange.transport.end_request()


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_began",
        "_body_ended",
        "_bytes_in",
        "_bytes_out",
        "_declared",
        "_edge",
        "_linger",
        "_may_linger",
        "_problem",
        "_receive",
        "_scope",
        "_send",
        "_trace",
        "refusal",
        "request_id",
        "status",
        "transport",
        "upgrades",
    )

    def __init__(self, edge: Middleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._began = time.perf_counter()
        self._edge = edge
        self._scope = scope
        self._receive = receive
        self._send = send
        self._bytes_in = 0
        self._bytes_out = 0
        self._linger = False
        self._may_linger = True
        self._declared: int | None = None
        self._body_ended = True
        self._problem: Problem | None = None
        self.status = 0
        # What follows the head of such a request the server's parser takes for another protocol, and drops.
        self.upgrades = scope["method"] == "CONNECT"
        fields, self.refusal = combine(scope["headers"])
        scope["fields"] = fields
        if (declared := fields.get(b"content-length")) is not None:
            self._declared = int(declared)
            self._body_ended = self._declared == 0
        if (coding := fields.get(b"transfer-encoding")) is not None:
            self._body_ended = False
            if coding.strip().lower() != b"chunked":
                self.refusal = self.refusal or NotImplementedCoding(coding.decode("latin-1"))
        if b"upgrade" in fields:
            self.upgrades = True
        given = _REQUEST_ID.fullmatch(fields.get(b"x-request-id", b""))
        self.request_id = given[0].decode() if given else f"{_random.getrandbits(128):032x}"
        trace = _TRACE_ROOT.search(fields.get(b"x-amzn-trace-id", b""))
        trace = trace or _TRACE_PARENT.fullmatch(fields.get(b"traceparent", b""))
        self._trace = trace[1].decode() if trace else None
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.transport = file_transport(scope)
        if self.transport is not None:
            self.transport.begin_request(has_body=not self._body_ended)
            if self.upgrades:
                self.transport.drop_the_rest()

    @property
    def has_body(self) -> bool:
        return not self._body_ended

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_in += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._body_ended = True
                if self.transport is not None:
                    self.transport.expects_head = True
            elif self.transport is not None and message.get("body"):
                self.transport.body_bytes = 0
        else:
            self._body_ended = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._count_taken()
            headers = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            if not self._body_ended:
                # A client that has stalled is not about to send what would reset the connection.
                stalled = self.status == HTTPStatus.REQUEST_TIMEOUT
                self._linger = self._may_linger and not stalled and self._has_much_unread()
            closes = self._linger or self.upgrades or self._edge.lifecycle.draining
            if closes and all(name != b"connection" for name, _ in headers):
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            if self.transport is not None:
                self.transport.hold()
        elif message["type"] == "http.response.body":
            if self._scope["method"] != "HEAD":
                self._bytes_out += len(message.get("body", b""))
            if self._linger and not message.get("more_body", False):
                await self._send({**message, "more_body": True})
                if self.transport is not None:
                    self.transport.release()
                await self._drop_body()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await self._send(message)
            if self.transport is not None:
                self.transport.release()
            return
        await self._send(message)

    async def answer(self, problem: Problem, *, may_linger: bool = True) -> None:
        """Answers ``problem`` if no answer was begun."""
        self._may_linger = may_linger
        if not self.status:
            self._problem = problem
            await to_response(problem, self.request_id)(self._scope, self.receive, self.send)

    def end(self, error: BaseException | None) -> None:
        """Logs and counts."""
        self._count_taken()
        route = getattr(self._scope.get("route"), "path", None)
        milliseconds = (time.perf_counter() - self._began) * 1000
        is_fault = self._problem.is_fault if self._problem is not None else self.status >= 500
        self._edge.metrics.request(route or "none", milliseconds, self._bytes_in, self._bytes_out, failed=is_fault)
        level = _level(self.status, is_fault, error)
        if not _log.isEnabledFor(level):
            return
        lines = self._edge.lines
        if lines is not None and error is None:
            name = "info" if level == logging.INFO else logging.getLevelName(level).lower()
            lines.write(self._line(name, route, milliseconds))
            return
        fields: dict[str, object] = {
            "request_id": self.request_id,
            "trace_id": self._trace,
            "route": route,
            "method": self._scope["method"],
            "status": self.status,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "ms": round(milliseconds, 2),
        }
        _log.log(level, "request", exc_info=error, extra={"fields": fields})

    def _line(self, level: str, route: str | None, milliseconds: float) -> str:
        """The line that the logging library would make, made in a tenth of the time.

        Request and trace ids have been checked for what they consist of; methods and routes are written once as JSON.
        """
        return (
            f'{{"time": "{clock.text(time.time())}", "level": "{level}", "logger": "service.request", '
            f'"message": "request", "request_id": "{self.request_id}", '
            f'"trace_id": {_as_json(self._trace)}, "route": {_as_json(route)}, '
            f'"method": {_as_json(self._scope["method"])}, "status": {self.status}, "bytes_in": {self._bytes_in}, '
            f'"bytes_out": {self._bytes_out}, "ms": {milliseconds:.2f}}}'
        )

    def _count_taken(self) -> None:
        """Counts what was received past ``receive``."""
        if self.transport is not None and (taken := self.transport.taken) is not None:
            self._bytes_in += taken.count()
            self._body_ended = not taken.left

    def _has_much_unread(self) -> bool:
        # A body that was taken in part ends the connection, however little is left of it.
        is_taken = self.transport is not None and self.transport.taken is not None
        return is_taken or self.upgrades or self._declared is None or self._declared - self._bytes_in > SMALL_BODY_BYTES

    async def _drop_body(self) -> None:
        if self.transport is not None and (taken := self.transport.taken) is not None:
            await taken.drop(LINGER_SECONDS)
            return
        if self.transport is not None and self.upgrades:
            await self.transport.linger(LINGER_SECONDS)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._body_ended:
                    await self.receive()


@lru_cache(maxsize=256)
def _as_json(text: str | None) -> str:
    return json.dumps(text)


def _stopping() -> Unavailable:
    return Unavailable("The service is stopping; try again.", is_fault=False)


def _problem(error: Exception, scope: Scope) -> tuple[Problem, bool]:
    """What to answer to an error that is no Problem yet, and whether it is an ordinary one."""
    if isinstance(error, HTTPException):
        # What Starlette's router raises for an unknown path, and for a method that a path has not.
        if error.status_code == HTTPStatus.NOT_FOUND:
            return NotFound(f"There is nothing at {scope['path']!r}."), True
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        detail = f"{scope['method']} is not possible here; allowed: {allowed}"
        return MethodNotAllowed(detail, headers={"Allow": allowed}), True
    if isinstance(error, CallHangs):
        return Unavailable(f"The storage does not answer ({error}); try again.", retry_after_seconds=5), False
    if isinstance(error, PoolClosed):
        return _stopping(), True
    if isinstance(error, OSError):
        return storage_problem(error), False
    return InternalError("The request failed; the log has the reason under this instance."), False


def _level(status: int, is_fault: bool, error: BaseException | None) -> int:
    if status == HTTPStatus.SERVICE_UNAVAILABLE and (error is None or isinstance(error, asyncio.CancelledError)):
        return logging.WARNING  # too busy, or about to stop: said on purpose
    return logging.ERROR if error is not None or is_fault else logging.INFO
