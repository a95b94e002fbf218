"""One request and its answer: what an ASGI application is called with."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Protocol

from service.server.extensions import RECEIVE_INTO, ZERO_COPY_SEND, ClientGone, Run, Write, in_executor
from service.server.flow import FlowControl
from service.server.raw_socket import PeerGone
from service.server.response import render_head
from service.server.transfer import Transfer

Message = dict[str, Any]

# Up to here, to copy costs less than a system call with several pieces.
JOINED_BYTES = 16 * 1024

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What a cycle needs of the connection that it came by, and tells it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    server_state: Any
    look_seconds: float

    def may_keep_alive(self, cycle: Cycle) -> bool: ...
    def answered(self, cycle: Cycle, *, keep_alive: bool) -> None: ...
    def give_up(self, cycle: Cycle, status: int, detail: str) -> None: ...
    def transfer(self) -> Transfer: ...
    def take_body(self) -> int: ...
    def body_taken(self) -> None: ...
    def abort(self) -> None: ...


class Cycle:
    """``receive`` and ``send`` are the application's, the rest is the connection's."""

    def __init__(
        self, connection: Connection, scope: dict[str, Any], *, expects_continue: bool, body_ended: bool
    ) -> None:
        self.scope = scope
        self.expects_continue = expects_continue
        """Whether the client waits to be told to send its body."""
        self.body_ended = body_ended
        self.held = 0
        """Bytes of the body that have arrived and have not been asked for."""
        self.received = 0
        """Bytes of the body that have arrived."""
        self.taken: _Taken | None = None
        """The rest of the body, if it is read from the socket."""
        self.gone = False
        """Whether the client is, as far as this request goes."""
        self.written = 0
        """How often something of the answer was written."""
        self.ended = False
        """Whether all of the answer was."""
        self._connection = connection
        self._news: asyncio.Event | None = None
        self._waited = 0.0
        self._waits_since: float | None = None
        self._pieces: list[bytes] = []
        self._told_end = False
        self._started = False
        self._head = b""

    async def run(self, app: Any) -> None:
        try:
            result = await app(self.scope, self.receive, self.send)
            if result is not None:
                raise RuntimeError(f"An ASGI application returns None, and this one {result!r}.")
            if not self.ended and not self.gone:
                raise RuntimeError("The ASGI application has returned without a whole answer.")
        except ClientGone:
            pass
        except asyncio.CancelledError:
            # By uvicorn, to whose log it belongs: the process ends.
            self._connection.give_up(self, 503, "The server is stopping; try again.")
        except BaseException as error:
            _log.error("Exception in ASGI application", exc_info=error)
            self._connection.give_up(self, 500, "Internal Server Error")

    # What the connection says.

    def arrived(self, piece: bytes, *, ended: bool) -> None:
        """Says that ``piece`` of the body has arrived, and whether that was the end of it."""
        self.body_ended = ended
        self.received += len(piece)
        if piece:
            self._pieces.append(piece)
            self.held += len(piece)
        if self._news is not None:
            self._news.set()

    def lose(self) -> None:
        """Says that nothing more arrives, and nothing can be sent."""
        self.gone = True
        self.look()

    def look(self) -> None:
        """Says that something has changed for who waits in ``receive``."""
        if self._news is not None:
            self._news.set()

    @property
    def waits(self) -> bool:
        """Whether the application waits for something to arrive."""
        return self._waits_since is not None

    def waited(self, now: float) -> float:
        """How many seconds the application has waited for the body."""
        return self._waited + (now - self._waits_since if self._waits_since is not None else 0.0)

    # The application's side.

    async def receive(self) -> Message:
        if self.expects_continue:
            self.expects_continue = False
            if not (self._started or self.body_ended or self.gone):
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.gone and not self.ended:
            if self.taken is not None and not self._told_end:
                return await self._receive_into(self.taken)
            if self._pieces or (self.body_ended and not self._told_end):
                pieces, self._pieces = self._pieces, []
                self.held = 0
                self._told_end = self.body_ended
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                return {"type": "http.request", "body": body, "more_body": not self.body_ended}
            if not self.body_ended:
                self._connection.flow.resume_reading()
            elif self._connection.flow.ended:
                # It may have closed its side only: whether it still listens is told by sending alone.
                break
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._wait(self._news.wait())
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        connection = self._connection
        if not connection.flow.is_writable:
            await connection.flow.drain()
        kind = message["type"]
        if self.gone:
            raise ClientGone("the client has gone")
        if self.ended:
            raise RuntimeError(f"{kind!r} was sent after the end of the answer.")
        if self._started and kind == "http.response.body":
            self._send_body(message.get("body", b""), more_body=message.get("more_body", False))
        elif self._started and kind == ZERO_COPY_SEND:
            await self._send_file(message)
        elif kind == "http.response.start" and not self._started:
            self._head, self._has_body, self._left, self._is_chunked, self._keep_alive = render_head(
                message["status"],
                connection.server_state.default_headers,
                message.get("headers", ()),
                method=self.scope["method"],
                version=self.scope["http_version"],
                keep_alive=connection.may_keep_alive(self),
            )
            self._started = True
        elif kind == RECEIVE_INTO:
            self._take(message["write"], message.get("run", in_executor))
        else:
            expected = "http.response.body" if self._started else "http.response.start"
            raise RuntimeError(f"{expected!r} is expected, and {kind!r} was sent.")

    def _send_body(self, body: bytes, *, more_body: bool) -> None:
        before, after = self._frame(len(body), more_body=more_body)
        if not self._has_body:
            body = b""
        if len(body) <= JOINED_BYTES:
            if whole := before + body + after:
                self._connection.transport.write(whole)
        else:
            self._connection.transport.writelines([part for part in (before, body, after) if part])
        self.written += 1
        if not more_body:
            self._end()

    def _frame(self, size: int, *, more_body: bool) -> tuple[bytes, bytes]:
        """What goes before and after ``size`` bytes. Raises RuntimeError if they are not what the head has announced."""
        if self._left is not None:
            if size > self._left:
                raise RuntimeError("The answer is longer than its Content-Length.")
            if size < self._left and not more_body:
                raise RuntimeError("The answer is shorter than its Content-Length.")
            self._left -= size
        head, self._head = self._head, b""
        if not self._is_chunked:
            return head, b""
        last = b"" if more_body else b"0\r\n\r\n"
        return (b"%b%x\r\n" % (head, size), b"\r\n" + last) if size else (head, last)

    def _end(self) -> None:
        self.ended = True
        if self._news is not None:
            self._news.set()
        self._connection.answered(self, keep_alive=self._keep_alive)

    async def _send_file(self, message: Message) -> None:
        connection, file, run = self._connection, message["file"].fileno(), message.get("run", in_executor)
        start, count, more_body = message.get("offset"), message.get("count"), message.get("more_body", False)
        if start is None:
            start = os.lseek(file, 0, os.SEEK_CUR)
        if count is None:
            count = max(0, (await run(os.fstat, file)).st_size - start)
        before, after = self._frame(count, more_body=more_body)
        transfer = connection.transfer()
        # Before anything leaves: nothing else may be written in its midst.
        self.written += 1
        # So that what is written and the file leave together.
        transfer.socket.cork(True)
        connection.transport.write(before)
        try:
            if self._has_body:
                await transfer.send_file(file, start, start + count, run)
        except BaseException:
            # Nothing can follow in place of what was promised.
            connection.abort()
            raise
        finally:
            transfer.socket.cork(False)
        connection.transport.write(after)
        if not more_body:
            self._end()

    def _take(self, write: Write, run: Run) -> None:
        if self.taken is not None or self.body_ended or RECEIVE_INTO not in self.scope["extensions"]:
            raise RuntimeError(f"{RECEIVE_INTO!r} was sent, but there is no body to be taken.")
        self.taken = _Taken(write, run, self._connection.take_body())

    async def _receive_into(self, taken: _Taken) -> Message:
        connection = self._connection
        transfer = connection.transfer()
        raw = transfer.socket
        if taken.failure is not None:
            raise taken.failure
        if held := b"".join(self._pieces):
            self._pieces.clear()
            self.held = 0
            await taken.run(taken.write, memoryview(held), True)
            return {"type": "http.request", "body": b"", "more_body": True, "count": len(held)}
        try:
            while raw.received == taken.counted:
                if self.gone:
                    return {"type": "http.disconnect"}
                if taken.visited:
                    await self._wait(transfer.until_readable(taken.length, connection.look_seconds))
                taken.visited = True
                await taken.run(raw.receive, taken.length, taken.write)
        except PeerGone:
            if not self.gone:
                connection.abort()
            return {"type": "http.disconnect"}
        except Exception as error:
            taken.failure = error
            if raw.received == taken.counted:
                raise
            # What has arrived is told first, for whoever counts it.
        count = raw.received - taken.counted
        self.received += count
        taken.counted = raw.received
        if raw.received == taken.length:
            self.body_ended = True
            self._told_end = taken.failure is None
            connection.body_taken()
        return {"type": "http.request", "body": b"", "more_body": not self._told_end, "count": count}

    async def _wait(self, news: Any) -> None:
        loop = self._connection.loop
        self._waits_since = loop.time()
        try:
            await news
        finally:
            self._waited, self._waits_since = self.waited(loop.time()), None


class _Taken:
    """The rest of a body that is read from the socket by threads."""

    def __init__(self, write: Write, run: Run, length: int) -> None:
        self.run = run
        self.length = length
        self._write = write
        self.counted = 0
        """How much of it the application has been told of."""
        self.visited = False
        self.failure: Exception | None = None
        """What ``write`` has raised."""

    def write(self, piece: memoryview, more_body: bool) -> None:
        """For a thread, which nobody may wait for any more."""
        try:
            self._write(piece, more_body)
        except Exception as error:
            self.failure = error
            raise
