"""How fast bytes may come and go."""

from __future__ import annotations

import asyncio


class FlowControl:
    """Of one connection. Reading and writing are paused and go on independently."""

    __slots__ = ("_drained", "_transport", "ended", "is_reading", "is_writable")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._drained: asyncio.Event | None = None
        self.is_reading = True
        self.is_writable = True
        self.ended = False
        """Whether the client has said that it sends no more, so that there is nothing to read."""

    def pause_reading(self) -> None:
        if self.is_reading:
            self.is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_reading and not self.ended and not self._transport.is_closing():
            self.is_reading = True
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    async def drain(self) -> None:
        """Waits until the transport takes more, or has ended."""
        while not self.is_writable:
            self._drained = self._drained or asyncio.Event()
            await self._drained.wait()
