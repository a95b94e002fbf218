"""A connection without a socket: a test plays the client, the network and the clock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from service.server import HttpProtocol, Options

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Transport(asyncio.Transport):
    """Keeps what it is told. What it was given to write waits as long as ``takes`` is False."""

    def __init__(self, **extra: object) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 50000), **extra})
        self.written = b""
        self.takes = True
        self.waiting = 0
        self.reads = True
        self.closed = False
        self.aborted = False
        self.ended = False
        self.writes = 0

    def write(self, data: Any) -> None:
        assert not self.ended, "written after the end"
        self.writes += 1
        self.written += data
        self.waiting += 0 if self.takes else len(data)

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def can_write_eof(self) -> bool:
        return self.get_extra_info("sslcontext") is None

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


@dataclass
class _Timer:
    at: float
    call: Callable[..., object]
    args: tuple[Any, ...]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Clock:
    """The event loop, with a time of its own."""

    now: float = 1000.0
    timers: list[_Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[..., object], *args: Any) -> _Timer:
        timer = _Timer(self.now + delay, call, args)
        self.timers.append(timer)
        return timer

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)


class Direct:
    """One connection to ``app``. To be made in a running loop."""

    def __init__(
        self,
        app: App,
        *,
        options: Options | None = None,
        transport: Transport | None = None,
        app_state: dict[str, Any] | None = None,
        kind: type[HttpProtocol] | None = None,
        **config: Any,
    ) -> None:
        config = {"proxy_headers": False, **config}
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"Sat, 28 Nov 2026 00:00:00 GMT")]
        self.clock = Clock()
        self.transport = transport or Transport()
        kind = kind or type("HttpProtocol", (HttpProtocol,), {"options": options or Options()})
        self.protocol: HttpProtocol = kind(
            uvicorn.Config(app, ws="none", lifespan="off", log_config=None, **config),
            self.state,
            app_state or {},
            cast(asyncio.AbstractEventLoop, self.clock),
        )
        self.protocol.connection_made(self.transport)

    def arrive(self, data: bytes) -> None:
        """As a loop does it: as much as there is room for, and nothing while it may not read."""
        while data and self.transport.reads and not self.transport.closed:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            data = data[size:]
            self.protocol.buffer_updated(size)
        self.unread = data

    async def send(self, data: bytes) -> None:
        """``arrive``, and lets the application work until it waits for something else."""
        self.arrive(data)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
            if getattr(self, "unread", b"") and self.transport.reads:
                self.arrive(self.unread)

    def end(self) -> bool:
        """The client sends no more; whether the connection is kept open."""
        return self.protocol.eof_received()

    def lose(self) -> None:
        self.protocol.connection_lost(None)

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        until = self.clock.now + seconds
        while due := [t for t in self.clock.timers if t.at <= until and not t.cancelled]:
            timer = min(due, key=lambda t: t.at)
            self.clock.timers.remove(timer)
            self.clock.now = max(self.clock.now, timer.at)
            timer.call(*timer.args)
        self.clock.now = until

    @property
    def answers(self) -> list[bytes]:
        """What was written, an answer each."""
        return re.split(rb"(?=HTTP/1\.1 \d{3} )", self.transport.written)[1:]

    @property
    def statuses(self) -> list[int]:
        return [int(answer.split()[1]) for answer in self.answers]


def answering(body: bytes = b"ok", status: int = 200, headers: Any = None) -> App:
    """An application that reads the whole body and then answers."""
    fields = [(b"content-length", b"%d" % len(body))] if headers is None else headers

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    return app


@dataclass
class Recorder:
    """An application that keeps scopes and bodies, and answers ``ok``."""

    scopes: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    disconnects: int = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            more = message["more_body"]
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def request(
    method: str = "GET",
    target: str = "/",
    body: bytes | None = None,
    fields: Mapping[str, str] | None = None,
    **headers: str,
) -> bytes:
    """A whole request; an underscore in the name of one of ``headers`` is a hyphen."""
    fields = {"Host": "test", **(fields or {}), **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + (body or b"")


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
