"""One HTTP/1.1 request and its response, with a target, on a connection of its own.

A connection is never used twice: reusing an idle one races with the target closing it, and a request lost to that race
is exactly what a rolling deployment must not show. Requests and responses are read and written at once, so that an
answer given before the end of an upload (413, 408, 507) reaches the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import h11

_CHUNK = 256 * 1024
_HEAD_LIMIT = 64 * 1024

Headers = Sequence[tuple[bytes, bytes]]


class TargetFailed(Exception):
    """The target closed, broke or garbled the connection before its response was whole."""


class Exchange:
    """Made by `open`; one task may send while another one reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._may_send_body = asyncio.Event()

    @classmethod
    async def open(cls, host: str, port: int, timeout_seconds: float = 5) -> Exchange:
        """Raises OSError (TimeoutError is one) when the target does not accept."""
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=_CHUNK)
        return cls(reader, writer)

    async def send_head(self, method: bytes, target: bytes, headers: Headers) -> None:
        """Raises h11.LocalProtocolError when this is no request that HTTP/1.1 allows."""
        await self._send(h11.Request(method=method, target=target, headers=list(headers)))

    async def send_data(self, data: bytes) -> None:
        if data:
            await self._send(h11.Data(data=data))

    async def send_end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def continued(self, timeout_seconds: float = 1) -> None:
        """Waits for `100 Continue`, but not for ever: a target may also just take the body (RFC 9110, 10.1.1)."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._may_send_body.wait()
        except TimeoutError:
            pass

    async def response(self) -> h11.Response:
        """The head of the final response. Raises TargetFailed."""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 100:
                    self._may_send_body.set()
                continue
            if isinstance(event, h11.Response):
                return event
            raise TargetFailed("the connection ended before a response")

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises TargetFailed when it ends too early."""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise TargetFailed("the connection ended within the response")

    def close(self) -> None:
        """Ends the connection at once; what is not sent yet is dropped."""
        self._writer.transport.abort()

    async def _send(self, event: h11.Event) -> None:
        parts = self._http.send_with_data_passthrough(event)
        if parts:
            self._writer.writelines(parts)
            await self._writer.drain()

    async def _next_event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_CHUNK))
        except (OSError, h11.ProtocolError) as error:
            raise TargetFailed(str(error)) from error
        return event
