"""A transport without an event loop behind it, for tests that decide what happens to it when."""

from __future__ import annotations

import asyncio
import socket
from typing import Any


class Twin(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self, connection: socket.socket, **extra: object) -> None:
        super().__init__({"socket": connection, **extra})
        self.written = b""
        self.buffered = 0
        self.limits: list[int | None] = []
        self.is_open = True
        self.aborted = False
        self.reads = True
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += data

    def close(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False
        self.aborted = True

    def is_closing(self) -> bool:
        return not self.is_open

    def is_reading(self) -> bool:
        return self.reads

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits.append(high)
