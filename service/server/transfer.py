"""The loop's side of the two extensions: when a thread visits the socket, and what is waited for in between."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable

from service.server.extensions import ClientGone, Run
from service.server.raw_socket import PATIENCE_SECONDS, WAKE_BYTES, PeerGone, RawSocket


class Transfer:
    """For one connection. ``close`` wakes whoever waits here."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.socket = RawSocket(transport.get_extra_info("socket").dup())
        self.is_sending = False
        """Whether a client is waited for to take a part of a file."""
        self._waiting: asyncio.Future[bool] | None = None
        self._closed = False

    def close(self) -> None:
        """Says that the connection has ended."""
        self._closed = True
        self._loop.remove_reader(self.socket.socket)
        self._loop.remove_writer(self.socket.socket)
        self.socket.close()
        self.wake()

    def wake(self) -> None:
        """Says that the transport's buffer has drained, or that the connection has ended."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(True)

    async def send_file(self, file: int, start: int, stop: int, run: Run) -> None:
        """Raises ClientGone, and what ``RawSocket.send`` and ``run`` raise."""
        # A descriptor of its own: whoever gives up waiting closes theirs, and a thread may be at work for longer.
        file = os.dup(file)
        raw = self.socket
        self.is_sending = True
        try:
            await self._drain()
            raw.position, raw.is_patient = start, True
            while raw.position < stop:
                may_take_more = await run(raw.send, file, stop)
                self._check()
                if not may_take_more:
                    await self._until_writable()
        except PeerGone:
            raise ClientGone("the client has gone") from None
        finally:
            self.is_sending = False
            raw.close_later(functools.partial(os.close, file))

    async def until_readable(self, stop: int, seconds: float) -> None:
        """Waits until it is worth while to receive up to ``stop`` bytes, or for ``seconds``."""
        raw = self.socket
        raw.wake_at(min(WAKE_BYTES, stop - raw.received))
        if not self._closed:
            await self._until(self._loop.add_reader, self._loop.remove_reader, seconds)

    def _check(self) -> None:
        if self._closed or self._transport.is_closing():
            raise PeerGone

    async def _drain(self) -> None:
        """What the transport still holds goes first."""
        self._check()
        if self._transport.get_write_buffer_size():
            self._waiting = self._loop.create_future()
            self._transport.set_write_buffer_limits(high=0)
            try:
                await self._waiting
            finally:
                self._waiting = None
                if not self._transport.is_closing():
                    self._transport.set_write_buffer_limits()
            self._check()

    async def _until_writable(self) -> None:
        since = time.monotonic()
        await self._until(self._loop.add_writer, self._loop.remove_writer, None)
        self._check()
        # A thread does not wait for a client that has just kept one waiting in vain.
        self.socket.is_patient = time.monotonic() - since < 2 * PATIENCE_SECONDS

    async def _until(self, watch: Callable[..., object], unwatch: Callable[..., object], seconds: float | None) -> None:
        waiting: asyncio.Future[bool] = self._loop.create_future()
        self._waiting = waiting
        watch(self.socket.socket, self.wake)
        timer = self._loop.call_later(seconds, self.wake) if seconds is not None else None
        try:
            await waiting
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting = None
            if not self._closed:
                unwatch(self.socket.socket)
