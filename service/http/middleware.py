"""The outermost layer of the API: what every request gets, whatever route it takes and however it ends.

- a request id, taken from ``X-Request-ID`` or made, answered and logged
- one log line, and its share of the metrics
- an answer to every error, in the one shape of ``errors``
- an answer, also when the process is about to end
- ``Connection: close`` while draining, so that clients move to another task before this one's connections end
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
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    Problem,
    Unavailable,
    forget_locals,
    storage_problem,
    to_response,
)
from service.http.fields import combine
from service.http.lifecycle import Lifecycle
from service.telemetry.logs import Lines, clock
from service.telemetry.metrics import Metrics
from service.thread_pool import CallHangs, PoolClosed

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
            await self.app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            forget_locals(problem)
            await exchange.answer(problem)
        except ClientDisconnect:
            # The server may have had the last word, see refusals.
            exchange.status = exchange.status or scope["state"].get("refused", CLIENT_GONE)
        except asyncio.CancelledError as cancelled:
            if not self.lifecycle.draining:
                raise
            # The server gives up on requests that outlast the stop timeout; this is the last word they get.
            error = cancelled
            await exchange.answer(_stopping())
        except Exception as failure:
            forget_locals(failure)
            answer, is_expected = _problem(failure, scope)
            error = None if is_expected else failure
            await exchange.answer(answer)
        finally:
            exchange.end(error)


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_began",
        "_bytes_in",
        "_bytes_out",
        "_middleware",
        "_problem",
        "_receive",
        "_scope",
        "_send",
        "_trace",
        "refusal",
        "request_id",
        "status",
    )

    def __init__(self, middleware: Middleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._began = time.perf_counter()
        self._middleware = middleware
        self._scope = scope
        self._receive = receive
        self._send = send
        self._bytes_in = 0
        self._bytes_out = 0
        self._problem: Problem | None = None
        self.status = 0
        fields, self.refusal = combine(scope["headers"])
        scope["fields"] = fields
        coding = fields.get(b"transfer-encoding", b"chunked")
        if coding.strip().lower() != b"chunked":
            detail = f"Transfer-Encoding is {coding.decode('latin-1')!r}; allowed: chunked"
            self.refusal = self.refusal or NotImplementedHere(detail)
        given = _REQUEST_ID.fullmatch(fields.get(b"x-request-id", b""))
        self.request_id = given[0].decode() if given else f"{_random.getrandbits(128):032x}"
        trace = _TRACE_ROOT.search(fields.get(b"x-amzn-trace-id", b""))
        trace = trace or _TRACE_PARENT.fullmatch(fields.get(b"traceparent", b""))
        self._trace = trace[1].decode() if trace else None
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            # What was received past the application is counted only.
            self._bytes_in += len(message.get("body", b"")) + message.get("count", 0)
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            if self._middleware.lifecycle.draining and all(name != b"connection" for name, _ in headers):
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        elif self._scope["method"] != "HEAD":
            if kind == "http.response.body":
                self._bytes_out += len(message.get("body", b""))
            elif kind == "http.response.zerocopysend":
                self._bytes_out += message["count"]
        try:
            await self._send(message)
        except OSError as error:
            # Of a file that is sent it has a number; without one, it is the server's word that the client has gone.
            if error.errno is None:
                raise ClientDisconnect from None
            raise

    async def answer(self, problem: Problem) -> None:
        """Answers ``problem`` if no answer was begun."""
        if not self.status:
            self._problem = problem
            with contextlib.suppress(ClientDisconnect):
                await to_response(problem, self.request_id)(self._scope, self.receive, self.send)

    def end(self, error: BaseException | None) -> None:
        """Logs and counts."""
        route = getattr(self._scope.get("route"), "path", None)
        milliseconds = (time.perf_counter() - self._began) * 1000
        is_fault = self._problem.is_fault if self._problem is not None else self.status >= 500
        self._middleware.metrics.request(
            route or "none", milliseconds, self._bytes_in, self._bytes_out, failed=is_fault
        )
        level = _level(self.status, is_fault, error)
        if not _log.isEnabledFor(level):
            return
        lines = self._middleware.lines
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
