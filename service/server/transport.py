"""A connection's transport as the server sees it, which can also send files and hand over bodies.

It stands between the event loop and uvicorn's own HTTP protocol, put there by ``protocol``. An application finds that
of its connection with ``file_transport(scope)``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from service.server.peer import PATIENCE_SECONDS, Peer, PeerGone
from service.server.rawbody import RawBody
from service.server.sendfile import FileBody
from service.thread_pool import ThreadPool

STATE_KEY = "file_transport"
# How long a connection that is about to end goes on taking in what its client still sends.
LINGER_SECONDS = 2.0
# Up to here, to copy costs less than a system call with several pieces.
JOINED_BYTES = 16 * 1024


class FileTransport(asyncio.Transport):
    """A transport that sends files and gives out bodies as well, and leaves all else to ``transport``."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.is_busy = False
        """Whether a request is being answered."""
        self.is_idle_since = loop.time()
        self.expects_head = True
        """Whether what arrives next belongs to a request's head."""
        self.head_bytes = 0
        """How much of a head has arrived."""
        self.body_bytes = 0
        """How much has arrived since the application was last given a piece of the body."""
        self.in_line = 0
        """Requests that have begun to arrive and have not been answered."""
        self.is_dropping = False
        """Whether all has been said, and what still arrives is of no interest."""
        self.on_own_words: Callable[[], None] | None = None
        """Called in place of what the server writes while it parses: its answer to what is no HTTP."""
        self.on_next_request: Callable[[], None] | None = None
        """Called when a request was answered whose body the server has not seen the end of."""
        self.on_broken_body: Callable[[], None] | None = None
        """Called when the rest of the body that is waited for can't be read."""
        self._transport = transport
        self._loop = loop
        self._peer: Peer | None = None
        self._body: FileBody | None = None
        # What was written after ``_body``.
        self._line: list[bytes] = []
        # The head of an answer.
        self._held: list[bytes | bytearray | memoryview[Any]] | None = None
        self._is_sending = False
        self._raw: RawBody | None = None
        self._is_paused = False
        self._is_held_back = False
        self._look: asyncio.Handle | None = None
        self._is_taken = False
        self._writes = 0
        self._is_renewed = False
        self._closing = False
        self._last_words = b""
        self._lost: asyncio.Future[bool] = loop.create_future()
        self._waiting: asyncio.Future[bool] | None = None

    @property
    def is_lost(self) -> bool:
        return self._lost.done()

    @property
    def is_taken(self) -> bool:
        """Whether a ``RawBody`` reads from the connection, so that nothing can arrive here."""
        return self._is_taken

    def begin_request(self, *, has_body: bool) -> None:
        """Says that a request has arrived, and is now to be answered."""
        self.is_busy = True
        self.expects_head = not has_body
        self.head_bytes = self.body_bytes = 0

    def end_request(self) -> None:
        """Says that the request was answered, or will never be."""
        self.is_busy = False
        self.expects_head = True
        self.head_bytes = self.body_bytes = 0
        self.in_line -= 1
        self.is_idle_since = self._loop.time()
        raw, self._raw = self._raw, None
        if self._last_words or self._is_held_back:
            self._look_after_requests()
        if raw is not None and not self.is_closing():
            if raw.left or self.on_next_request is None:
                self.close()
                return
            self._is_taken = False
            self._is_renewed = True
            try:
                self.on_next_request()
            finally:
                self._is_renewed = False
            self.resume_reading()

    def end_with(self, answer: bytes) -> None:
        """Sends ``answer`` and ends the connection, once all requests that have arrived whole are answered."""
        self._last_words = answer
        self._transport.pause_reading()
        self._look_after_requests()

    def drop_the_rest(self) -> None:
        """Whatever still arrives is of no interest."""
        self.is_dropping = True

    async def linger(self, seconds: float) -> None:
        """Lets what is dropped arrive, until the client closes the connection, for ``seconds`` at most."""
        await asyncio.wait((self._lost,), timeout=seconds)

    def hold(self) -> None:
        """Keeps what is written until ``release``: the head of an answer goes with its body, in one call and one packet."""
        self._held = []

    def release(self) -> None:
        """Sends what was held, if anything was."""
        held, self._held = self._held, None
        if not held or self.is_lost:
            return
        if sum(map(len, held)) <= JOINED_BYTES:
            self._transport.write(b"".join(held))
        else:
            self._transport.writelines(held)

    def cork(self) -> None:
        """Says that a file follows what is written next, so that both leave together."""
        if not self.is_closing():
            self._get_peer().cork(True)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._writes += 1
        if self.on_own_words is not None:
            self.on_own_words()
        elif self.is_lost:
            # The server tells only the last of several requests in line that the connection has ended.
            return
        elif self._body is None:
            if isinstance(data, FileBody):
                self.release()
                self._body = data
                data.transport = self
            elif self._held is not None:
                self._held.append(data)
            else:
                self._transport.write(data)
        elif isinstance(data, FileBody):
            raise RuntimeError("a FileBody was written before the one before it has been sent; await its sent() first")
        else:
            self._line.append(bytes(data))

    def close(self) -> None:
        if self._is_renewed:
            return  # it ends for one protocol only, and goes on for the next
        if self._last_words and not self.is_dropping:
            return  # something is still to be said
        if self._body is None:
            self.release()
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
        self._is_paused = True
        if not self._is_taken:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        self.go_on_reading()

    def hold_reading(self) -> None:
        """Reads nothing until ``go_on_reading``, which the server may call as well."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        # The server would take in as many requests as there are, and keep them until their turn comes.
        self._is_held_back = self.in_line > 1
        if not (self._is_held_back or self._is_paused or self._closing or self._is_taken or self._last_words):
            self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + sum(map(len, self._line))

    def take(self, length: int) -> RawBody:
        """The next ``length`` bytes that arrive. The server must have handed out all that it has received."""
        if self._raw is not None:
            raise RuntimeError("the body of this request was taken already")
        self._transport.pause_reading()
        self._is_taken = True
        self._raw = RawBody(self, self._get_peer(), length)
        return self._raw

    @property
    def taken(self) -> RawBody | None:
        """What ``take`` has returned for the request that is being answered."""
        return self._raw

    def progress(self) -> tuple[int, ...] | None:
        """Changes with what is written and with what the client takes; None if nothing waits for the client."""
        waiting = self._transport.get_write_buffer_size()
        return (self._writes, waiting, self._get_peer().unsent()) if waiting and not self.is_lost else None

    async def until_readable(self, seconds: float) -> bool:
        """Waits for something to arrive, or the end of the connection; False if neither came within ``seconds``."""
        if self.is_lost:
            return True
        peer = self._get_peer()
        return await self._until(self._loop.add_reader, self._loop.remove_reader, peer, seconds)

    async def send(self, body: FileBody, threads: ThreadPool, stall_seconds: float) -> bool:
        """See ``FileBody.sent``."""
        error: Exception | None = None
        self._is_sending = True
        try:
            if await self._send(body, threads, stall_seconds):
                self._go_on()
                return True
        except PeerGone:
            pass
        except Exception as failure:
            error = failure
        except BaseException:
            self.abort()
            raise
        await self.end()
        if error is not None:
            raise error
        return False

    async def end(self) -> None:
        """Aborts the connection and waits until the server knows, which would log an unfinished answer otherwise."""
        if not self._transport.is_closing():
            self.abort()
        await asyncio.wait((self._lost,))

    def drained(self) -> None:
        """Says that the buffer of the transport underneath has drained."""
        if self._waiting is not None:
            _wake(self._waiting)

    def lost(self) -> None:
        """Says that the connection has ended."""
        _wake(self._lost)
        if self._waiting is not None:
            _wake(self._waiting)
        if self._peer is not None:
            self._loop.remove_reader(self._peer.socket)
            self._loop.remove_writer(self._peer.socket)
            self._peer.close()
            self._peer = None

    async def _send(self, body: FileBody, threads: ThreadPool, stall_seconds: float) -> bool:
        if self._transport.get_write_buffer_size() and not self._transport.is_closing():
            await self._drain()
        if self._transport.is_closing():
            return False
        peer = self._get_peer()
        peer.position, peer.is_patient = body.span.start, True
        while True:
            may_take_more = await threads.start(peer.send, body.file, body.span.stop, is_last=body.is_last)
            if peer.position == body.span.stop:
                return True
            if self.is_lost:
                return False
            if not may_take_more:
                await self._until_writable(peer, stall_seconds)

    def _look_after_requests(self) -> None:
        # In the next round, in which the next request in line begins before; and once more if it ends at once.
        if self._look is not None:
            self._look.cancel()
        self._look = self._loop.call_soon(self._after_requests)

    def _after_requests(self) -> None:
        """Goes on with what waited for the answers."""
        self._look = None
        if not self._last_words:
            self.go_on_reading()
        elif not self.is_busy:
            self._say_last_words()
        elif not self.expects_head and self.on_broken_body is not None:
            self.on_broken_body()

    def _say_last_words(self) -> None:
        if not self.is_closing():
            self._closing = self.is_dropping = True
            self._transport.write(self._last_words)
            # To close with something unread would reset the connection, and the client lose the answer.
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)

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

    async def _until_writable(self, peer: Peer, stall_seconds: float) -> None:
        since = time.monotonic()
        unsent = peer.unsent()
        while not await self._until(self._loop.add_writer, self._loop.remove_writer, peer, stall_seconds):
            if self.is_lost:
                raise PeerGone  # since the wait has ended
            before, unsent = unsent, peer.unsent()
            if unsent >= before:
                raise PeerGone  # or has stopped to take anything
        # A thread does not wait for a client that has just kept one waiting in vain.
        peer.is_patient = time.monotonic() - since < 2 * PATIENCE_SECONDS

    async def _until(
        self, watch: Callable[..., object], unwatch: Callable[..., object], peer: Peer, seconds: float
    ) -> bool:
        waiting: asyncio.Future[bool] = self._loop.create_future()
        self._waiting = waiting
        watch(peer.socket, _wake, waiting)
        timer = self._loop.call_later(seconds, _give_up, waiting)
        try:
            return await waiting
        finally:
            timer.cancel()
            self._waiting = None
            if not self.is_lost:
                unwatch(peer.socket)

    def _get_peer(self) -> Peer:
        if self._peer is None:
            self._peer = Peer(self._transport.get_extra_info("socket").dup())
        return self._peer


def file_transport(scope: Scope) -> FileTransport | None:
    """The transport of the connection of a request, or None if it can't send files."""
    found = scope.get("state", {}).get(STATE_KEY)
    return found if isinstance(found, FileTransport) else None


def _wake(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(True)


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
