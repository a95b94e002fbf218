"""A connection, from its first byte to its last."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from typing import Any, ClassVar
from urllib.parse import unquote

import uvicorn

from service.server import scope
from service.server.cycle import Cycle
from service.server.extensions import RECEIVE_INTO, ZERO_COPY_SEND
from service.server.flow import FlowControl
from service.server.options import Options
from service.server.parser import Head, RequestParser
from service.server.progress import ReceiveRate, SendProgress
from service.server.raw_socket import unsent
from service.server.refused import Refused
from service.server.response import render_head
from service.server.state import State
from service.server.transfer import Transfer

# Of a large body so much comes in with its head. The application may have the rest read past the server.
FIRST_BYTES = 16 * 1024
READ_BYTES = 256 * 1024
# From here on no more of a body is read that the application has not asked for: at most FIRST_BYTES more are kept.
HIGH_WATER_BYTES = 48 * 1024
# So much of a body that was not asked for is read and dropped; of more, the connection ends.
UNREAD_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class _Buffer(threading.local):
    """All connections of a loop share it: what has been read is handed on before the next read. No two loops may, since a
    loop reads into it without the interpreter's lock."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES))


_buffer = _Buffer()


class HttpProtocol(asyncio.BufferedProtocol):
    """What uvicorn makes for each connection. The arguments are those of uvicorn's own protocols."""

    options: ClassVar[Options] = Options()
    waiting_bytes: ClassVar[int] = 0
    """What all connections of this class keep unread."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.server_state = server_state
        self.look_seconds = self.options.stall_seconds / 4
        """How often a slow client's bytes are looked for, few as they may be."""
        self._config = config
        self._app_state = app_state
        self._state = State.IDLE
        self._waiting_bytes = 0
        self._rate: ReceiveRate | None = None
        self._since = self.loop.time()
        self._parser = RequestParser()
        self._cycle: Cycle | None = None
        self._keep_alive = False
        self._is_last = False
        self._whole_buffer = _buffer.view
        self._first_buffer = self._whole_buffer[:FIRST_BYTES]
        self._buffer = self._whole_buffer
        # Not that of the request before, which is the one in which the next is read.
        self._context = contextvars.copy_context()
        self._transfer: Transfer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._send_progress = SendProgress()

    # What the event loop says.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self.transport = transport
        self.flow = FlowControl(transport)
        self.server_state.connections.add(self)
        self._is_encrypted = transport.get_extra_info("sslcontext") is not None
        is_raw = not self._is_encrypted and hasattr(os, "sendfile") and transport.get_extra_info("socket") is not None
        self._scope = scope.of_connection(self._config, transport)
        self._scope["extensions"] = {ZERO_COPY_SEND: {}} if is_raw else {}
        self._body_extensions: dict[str, dict[str, Any]] = {ZERO_COPY_SEND: {}, RECEIVE_INTO: {}} if is_raw else {}
        options = self.options
        self._tick_seconds = min(
            self._config.timeout_keep_alive, options.head_seconds, options.stall_seconds, options.rate_seconds
        )
        self._timer = self.loop.call_later(self._tick_seconds, self._tick)

    def get_buffer(self, sizehint: int) -> memoryview:
        cycle = self._cycle
        self._buffer = self._first_buffer
        if cycle is not None and cycle.waits and (expected := self._parser.expected_bytes) > FIRST_BYTES:
            # Not beyond the body: what comes after it waits for its turn, and is to be little.
            self._buffer = self._whole_buffer[:expected]
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        state = self._state
        if state is State.LINGERING or state is State.CLOSED:
            return
        if state is State.BODY and self._cycle is not None and self._cycle.taken is not None:
            # A loop that hands out what it was told to leave would make a hole in the file.
            _log.error("bytes of a body have arrived twice")
            self.abort()
            return
        self._parser.feed(bytes(self._buffer[:nbytes]))
        if state is State.ANSWERING:
            self.flow.pause_reading()
            self._count_waiting()
            return
        self._advance()
        if self._parser.data or self._state is State.HEAD or self._waiting_bytes:
            self._count_waiting()
        if nbytes == FIRST_BYTES and self._state is State.BODY and state is not State.BODY:
            # The application, which is about to see the head, may take what follows.
            self.flow.pause_reading()

    def eof_received(self) -> bool:
        self.flow.ended = True
        if self._state is State.ANSWERING and self._cycle is not None and not self._is_encrypted:
            self._cycle.look()
            return True  # the client has said all, and waits for its answer
        self._close()
        return False

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        if self._transfer is not None:
            self._transfer.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._state = State.CLOSED
        type(self).waiting_bytes -= self._waiting_bytes
        self._waiting_bytes = 0
        if self._cycle is not None:
            self._cycle.lose()
        self.flow.resume_writing()
        if self._transfer is not None:
            self._transfer.close()

    def shutdown(self) -> None:
        """uvicorn's word that the process is about to end."""
        self._is_last = True
        if self._state is not State.BODY and self._state is not State.ANSWERING:
            self._close()

    # What arrives, in the order in which it happens.

    def _advance(self) -> None:
        """Reads on until more bytes are needed, or a request is to be answered first."""
        parser = self._parser
        try:
            while self._state is not State.ANSWERING:
                event = parser.next()
                if event is None:
                    break
                if isinstance(event, Head):
                    self._begin(event)
                elif self._state is State.BODY:
                    cycle = self._cycle
                    assert cycle is not None
                    cycle.arrived(event, ended=not parser.in_body)
                    if not parser.in_body:
                        self._enter(State.ANSWERING)
                    elif cycle.held > HIGH_WATER_BYTES:
                        self.flow.pause_reading()
                elif not parser.in_body:
                    self._enter(State.IDLE)
                    self._since = self.loop.time()
            if self._state is State.IDLE and parser.in_head:
                self._enter(State.HEAD)
                self._since = self.loop.time()
        except Refused as refused:
            self._refuse(refused.status, refused.detail)
        except Exception:
            _log.exception("a request can't be read, through no fault of its own")
            self._refuse(500, "The request could not be read; try again.")

    def _count_waiting(self) -> None:
        kind, parser, before = type(self), self._parser, self._waiting_bytes
        self._waiting_bytes = parser.waiting_bytes
        kind.waiting_bytes += self._waiting_bytes - before
        if self._waiting_bytes > before and kind.waiting_bytes > self.options.waiting_bytes:
            if self._state is State.HEAD:
                self._refuse(503, "Too many requests are arriving; try again.")
            elif self._state is State.ANSWERING:
                # Who sends ahead has to be ready to send again (RFC 9112, section 9.3.2).
                parser.data = b""
                self._is_last = True
                self.flow.pause_reading()
                self._count_waiting()

    def _begin(self, head: Head) -> None:
        limit, state = self._config.limit_concurrency, self.server_state
        if limit is not None and (len(state.connections) >= limit or len(state.tasks) >= limit):
            raise Refused(503, "Too many requests are under way; try again.")
        target = head.target
        if target[:1] == b"/" and b"#" not in target:
            raw_path, _, query = target.partition(b"?")
        else:
            raw_path, query = scope.split_target(head.method, target)
        path = str(raw_path, "ascii")
        if "%" in path:
            path = unquote(path)
        if root_path := self._config.root_path:
            path, raw_path = root_path + path, root_path.encode() + raw_path
        asked: dict[str, Any] = {
            **self._scope,
            "http_version": head.version,
            "method": head.method,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": head.headers,
            "state": self._app_state.copy(),
        }
        in_body = self._parser.in_body
        if in_body:
            self._rate = None
            if head.length is not None:
                asked["extensions"] = self._body_extensions
        cycle = self._cycle = Cycle(self, asked, expects_continue=head.expects_continue, body_ended=not in_body)
        self._keep_alive = head.keep_alive
        self._enter(State.BODY if in_body else State.ANSWERING)
        task = self.loop.create_task(cycle.run(self._config.loaded_app), context=self._context.copy())
        state.tasks.add(task)
        task.add_done_callback(state.tasks.discard)

    def _refuse(self, status: int, detail: str) -> None:
        """Answers in place of the application, and ends the connection."""
        cycle, method, asked = self._cycle, "GET", None
        if cycle is not None:
            cycle.lose()
            asked = cycle.scope
            method = asked["method"]
            if cycle.written:
                self.abort()
                return
            if cycle.taken is not None:
                self.transfer().socket.stop_receiving()
                self.transfer().wake()
        headers, body = self.options.render(status, detail, asked)
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        default = self.server_state.default_headers
        head, has_body, *_ = render_head(status, default, headers, method=method, version="1.1", keep_alive=False)
        self.transport.write(head + body if has_body else head)
        self._linger()

    # What the application's side says.

    def may_keep_alive(self, cycle: Cycle) -> bool:
        """Whether the connection can go on after the answer to ``cycle``, which is about to begin."""
        if not self._keep_alive or self._is_last:
            return False
        if cycle.body_ended:
            return not self.flow.ended or bool(self._parser.data)
        # Whether a client that was not told to send its body will send it, nobody can tell.
        return not cycle.expects_continue and cycle.taken is None and 0 < self._parser.left <= UNREAD_BYTES

    def answered(self, cycle: Cycle, *, keep_alive: bool) -> None:
        self.server_state.total_requests += 1
        self._cycle = None
        keep_alive = keep_alive and not self._is_last
        if not keep_alive:
            # To close with something unread would reset the connection.
            if self._state is State.BODY or self._parser.data or not self.flow.is_reading:
                self._linger()
            else:
                self._close()
            return
        self._since = self.loop.time()
        if self._state is State.BODY:
            self._enter(State.UNREAD)
        else:
            self._enter(State.IDLE)
            if self._parser.data:
                self._advance()
                self._count_waiting()
                if self._state is State.ANSWERING:
                    return
        if self.flow.ended and self._state is not State.LINGERING:
            self._close()
        elif not self.flow.is_reading:
            self.flow.resume_reading()

    def give_up(self, cycle: Cycle, status: int, detail: str) -> None:
        """Says that the application will answer no more than it has."""
        if cycle is self._cycle and (self._state is State.BODY or self._state is State.ANSWERING):
            self._refuse(status, detail)

    def transfer(self) -> Transfer:
        if self._transfer is None:
            self._transfer = Transfer(self.transport, self.loop)
        return self._transfer

    def take_body(self) -> int:
        """Reads no more, and tells how many bytes of the body are still to come."""
        self.flow.pause_reading()
        self.transfer().socket.received = 0
        return self._parser.left

    def body_taken(self) -> None:
        """Says that all of the body was read from the socket."""
        self.transfer().socket.wake_at(1)
        if self._state is State.BODY:
            self._parser.skip_body()
            self._enter(State.ANSWERING)

    # How it ends.

    def abort(self) -> None:
        self._close()
        self.transport.abort()

    def _close(self) -> None:
        if self._state is not State.CLOSED:
            self._enter(State.CLOSED)
            if self._cycle is not None:
                self._cycle.lose()
            self.transport.close()

    def _linger(self) -> None:
        # An application that uvicorn cancels has said its last word: the process ends.
        task = asyncio.current_task() if self._is_last else None
        if self.flow.ended or not self.transport.can_write_eof() or (task is not None and task.cancelling()):
            self._close()
            return
        self._enter(State.LINGERING)
        if self._transfer is not None:
            self._transfer.socket.wake_at(1)
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(self.options.linger_seconds, self._end_lingering)

    def _end_lingering(self) -> None:
        if self._state is State.LINGERING:
            if self._unsent():  # a client that takes its time; one that takes nothing is seen to by the tick
                self.loop.call_later(self.options.linger_seconds, self._end_lingering)
            else:
                self._close()

    def _tick(self) -> None:
        """What only the time tells. One timer for each wait would cost a small request more than all else here."""
        now, wait, state, options = self.loop.time(), float(self._tick_seconds), self._state, self.options
        if self._send_progress.stands_still(now, self._unsent(), options.stall_seconds):
            self.abort()
        elif state is State.BODY and (cycle := self._cycle) is not None:
            self._rate = self._rate or ReceiveRate()
            least = options.least_bytes_per_second
            if self._rate.is_below(least, cycle.received, cycle.waited(now), options.rate_seconds):
                self._refuse(408, f"The body arrives too slowly; at least {least:g} bytes a second are needed.")
        elif state is State.IDLE or state is State.HEAD or state is State.UNREAD:
            left = self._since - now
            left += self._config.timeout_keep_alive if state is State.IDLE else options.head_seconds
            if left <= 0:
                self._close()
            else:
                wait = min(wait, left)
        self._timer = self.loop.call_later(wait, self._tick)

    def _unsent(self) -> tuple[int, ...]:
        """What any progress of a client changes for which something waits; else empty."""
        transfer, waiting = self._transfer, self.transport.get_write_buffer_size()
        if not waiting and (transfer is None or not transfer.is_sending):
            return ()
        connection = self.transport.get_extra_info("socket")
        left = unsent(connection.fileno()) if connection is not None else 0
        position = transfer.socket.position if transfer is not None else 0
        written = self._cycle.written if self._cycle is not None else 0
        return (waiting, left, position, written) if waiting or left else ()

    def _enter(self, state: State) -> None:
        if state not in self._state.then:
            raise RuntimeError(f"A connection can't go from {self._state.name} to {state.name}.")
        self._state = state
