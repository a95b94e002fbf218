"""Files from the disk to the network without a copy: sendfile(2) under uvicorn.

uvicorn sends only bytes, and to read a large file into bytes and write them to a socket takes three times the processor
time of sendfile. ``FileSendingProtocol`` stands between the event loop and uvicorn's own HTTP protocol: that one speaks to
a transport that also takes a ``FileBody``, in order with all else that is written. It is handed to uvicorn as
``Config(http=...)``; an application finds the connection's ``FileTransport`` with ``file_transport(scope)``.

A file may lie on a network, so that sendfile may wait: it runs in threads. A client that takes the file as fast as it
comes is served by one thread in one go; for one that doesn't, the loop waits and no thread does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.types import Scope

from service.conditions import Span
from service.storage import StoredFile
from service.threads import Threads

# What one call of sendfile is asked for; more gains nothing.
CALL_BYTES = 2 * 1024 * 1024
# How long a thread waits for the socket before it leaves that to the loop, which costs two switches between threads, and
# how long it goes on with one file before others get their turn.
PATIENCE_SECONDS = 0.003
VISIT_SECONDS = 0.03

_STATE_KEY = "file_transport"
# Not on every system that has sendfile. Without it, what is sent leaves in small packets, one for each few pages.
_CORK: int | None = getattr(socket, "TCP_CORK", None)


class FileBody(bytes):
    """A slice of a file as the ``body`` of an ASGI message, for a connection that has a ``FileTransport``.

    uvicorn asks a body for its length and hands it to the transport: this one tells the length of the slice, but the
    bytes stay in the file. Only under a ``Content-Length``: as a chunk it would be empty.
    """

    file: StoredFile
    span: Span
    is_last: bool
    transport: FileTransport | None

    def __new__(cls, file: StoredFile, span: Span, *, is_last: bool) -> FileBody:
        """``file`` is closed once its last slice has been sent."""
        body = super().__new__(cls)
        body.file, body.span, body.is_last, body.transport = file, span, is_last, None
        return body

    def __len__(self) -> int:
        return self.span.length

    async def sent(self, threads: Threads) -> bool:
        """Sends the slice, to be called once the message has been; False if the client has gone.

        The calls that may wait for a disk are made in ``threads``. Raises what they or ``StoredFile.send`` raised. Then,
        and when this is cancelled, the connection is aborted: nothing can follow in place of what was promised.
        """
        # A server drops what is sent to a client that has gone.
        return self.transport is not None and await self.transport.send(self, threads)


class FileTransport(asyncio.Transport):
    """A transport that sends files as well, and leaves all else to ``transport``."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._sender: _Sender | None = None
        self._body: FileBody | None = None
        # What was written after ``_body``.
        self._line: list[bytes] = []
        self._is_sending = False
        self._closing = False
        self._lost: asyncio.Future[None] = loop.create_future()
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_lost(self) -> bool:
        return self._lost.done()

    def cork(self) -> None:
        """Says that a file follows what is written next, so that both leave together."""
        if not self.is_closing():
            self._get_sender().cork(True)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._body is None:
            if isinstance(data, FileBody):
                self._body = data
                data.transport = self
            else:
                self._transport.write(data)
        elif isinstance(data, FileBody):
            raise RuntimeError("a FileBody was written before the one before it has been sent; await its sent() first")
        else:
            self._line.append(bytes(data))

    def close(self) -> None:
        if self._body is None:
            self._transport.close()
        elif not self._is_sending:
            self.abort()  # the application has failed before it came to ``sent``
        elif not self.is_closing():
            self._closing = True
            self._transport.pause_reading()

    def abort(self) -> None:
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._closing:
            self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + sum(map(len, self._line))

    async def send(self, body: FileBody, threads: Threads) -> bool:
        """See ``FileBody.sent``."""
        error: Exception | None = None
        self._is_sending = True
        try:
            if await self._send(body, threads):
                self._go_on()
                return True
        except ConnectionError:
            pass
        except Exception as failure:
            error = failure
        except BaseException:
            self.abort()
            raise
        if not self._transport.is_closing():
            self.abort()
        # The protocol has to know first, or it would take the answer for one that the application left unfinished.
        await asyncio.wait((self._lost,))
        if error is not None:
            raise error
        return False

    def drained(self) -> None:
        """Says that the buffer of the transport underneath has drained."""
        if self._waiting is not None:
            _wake(self._waiting)

    def lost(self) -> None:
        """Says that the connection has ended."""
        _wake(self._lost)
        if self._waiting is not None:
            _wake(self._waiting)
        if self._sender is not None:
            self._loop.remove_writer(self._sender.socket)
            self._sender.close()
            self._sender = None

    async def _send(self, body: FileBody, threads: Threads) -> bool:
        if self._transport.get_write_buffer_size() and not self._transport.is_closing():
            await self._drain()
        if self._transport.is_closing():
            return False
        sender = self._get_sender()
        sender.begin(body)
        while True:
            may_take_more = await threads.start(sender.visit, body)
            if sender.position == body.span.stop:
                return True
            if self.is_lost:
                return False
            if not may_take_more:
                await self._until_writable(sender)

    def _go_on(self) -> None:
        self._body = None
        self._is_sending = False
        if self._line:
            self._transport.write(b"".join(self._line))
            self._line.clear()
        if self._closing:
            self._transport.close()

    async def _drain(self) -> None:
        self._waiting = self._loop.create_future()
        self._transport.set_write_buffer_limits(high=0)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits()

    async def _until_writable(self, sender: _Sender) -> None:
        self._waiting = self._loop.create_future()
        self._loop.add_writer(sender.socket, _wake, self._waiting)
        since = time.monotonic()
        try:
            await self._waiting
        finally:
            self._waiting = None
            if not self.is_lost:
                self._loop.remove_writer(sender.socket)
        # A thread does not wait for a client that has just kept one waiting in vain.
        sender.is_patient = time.monotonic() - since < 2 * PATIENCE_SECONDS

    def _get_sender(self) -> _Sender:
        if self._sender is None:
            self._sender = _Sender(self._transport.get_extra_info("socket").dup())
        return self._sender


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Sender:
    """A connection as the threads see it.

    ``connection`` is a duplicate of the transport's socket: the transport may close its descriptor, and the number go to
    another connection, while a thread still sends; and a loop refuses to watch a descriptor that belongs to a transport.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.position = 0
        self.is_patient = True
        self._is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
        self._visiting = threading.Lock()
        self._closed = False

    def cork(self, on: bool) -> None:
        if _CORK is not None and self._is_tcp:
            with contextlib.suppress(OSError):  # the connection has ended, as the next call will tell
                self.socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    def begin(self, body: FileBody) -> None:
        self.position = body.span.start
        self.is_patient = True

    def close(self) -> None:
        """Ends the connection now. The socket is closed now or by the visit under way, which may hang."""
        self._closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._close_unless_visited()

    def visit(self, body: FileBody) -> bool:
        """Sends of ``body`` what goes without a long wait, from ``position`` on; whether the socket may take more.

        Raises ConnectionError if the client has gone, and what ``StoredFile.send`` raises. For a thread.
        """
        try:
            with self._visiting:
                return self._send(body)
        finally:
            if self._closed:
                self._close_unless_visited()

    def _send(self, body: FileBody) -> bool:
        until = time.monotonic() + VISIT_SECONDS
        descriptor, stop = self.socket.fileno(), body.span.stop
        poll = None
        while not self._closed:
            try:
                most = min(stop, self.position + CALL_BYTES)
                self.position += body.file.send(descriptor, Span(self.position, most))
            except BlockingIOError:
                if not self.is_patient:
                    return False
                if poll is None:
                    poll = select.poll()
                    poll.register(descriptor, select.POLLOUT)
                if not poll.poll(PATIENCE_SECONDS * 1000):
                    return False
            except OSError as error:
                raise self._without_peer(error) from error
            if self.position == stop:
                if body.is_last:
                    self.cork(False)
                    body.file.close()
                return True
            if time.monotonic() > until:
                return True
        return True

    def _without_peer(self, error: OSError) -> OSError:
        """``error``, or a ConnectionError if it comes from the connection and not from the file."""
        try:
            self.socket.getpeername()
        except OSError:
            return ConnectionError("the client has gone")
        return error

    def _close_unless_visited(self) -> None:
        if self._visiting.acquire(blocking=False):
            self.socket.close()
            self._visiting.release()


class FileSendingProtocol(asyncio.Protocol):
    """uvicorn's HTTP protocol with a ``FileTransport`` between it and the loop. The arguments are those of uvicorn's."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._loop = _loop or asyncio.get_running_loop()
        # uvicorn copies what is in here into the scope of each request.
        self._state = dict(app_state)
        self._protocol = _http_protocol()(
            config=config, server_state=server_state, app_state=self._state, _loop=self._loop
        )
        self._transport: FileTransport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        if _is_possible(transport):
            transport = self._state[_STATE_KEY] = self._transport = FileTransport(transport, self._loop)
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
        if self._transport is not None:
            self._transport.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        if self._transport is not None:
            self._transport.lost()


def file_transport(scope: Scope) -> FileTransport | None:
    """The transport of the connection of a request, or None if it can't send files."""
    found = scope.get("state", {}).get(_STATE_KEY)
    return found if isinstance(found, FileTransport) else None


def _is_possible(transport: asyncio.Transport) -> bool:
    """What has to be encrypted can't come from the file as it is."""
    is_plain = transport.get_extra_info("sslcontext") is None
    return is_plain and hasattr(os, "sendfile") and transport.get_extra_info("socket") is not None


@cache
def _http_protocol() -> Callable[..., asyncio.Protocol]:
    """The class that uvicorn itself takes for ``http="httptools"``."""
    config = uvicorn.Config(Response(), http="httptools", ws="none", lifespan="off", log_config=None)
    config.load()
    return config.http_protocol_class
