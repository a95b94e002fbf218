"""HTTP by hand: what a well-behaved client library would never send, and in pieces of one's own choosing."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from types import TracebackType
from typing import Any, Self

from tests.service.harness import LIVENESS_SECONDS


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection, blocking."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIVENESS_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def read(self, method: str = "POST") -> Answer:
        """The next answer. Raises http.client.HTTPException or OSError if the connection ends before."""
        found = HTTPResponse(self.socket, method=method)
        try:
            found.begin()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, headers, found.read())
        finally:
            found.close()

    def ask(self, method: str, target: str | bytes, body: bytes = b"", **headers: str) -> Answer:
        """Sends a whole request and reads its answer."""
        self.send(head(method, target, len(body) if body or method == "POST" else None, **headers) + body)
        return self.read(method)

    def end_sending(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanishes: the other side gets an RST, as from a machine that has restarted."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def head(method: str, target: str | bytes, length: int | str | None = None, **headers: str) -> bytes:
    """A request's head. ``length`` is the value of Content-Length; an underscore in a header's name is a hyphen."""
    line = target if isinstance(target, bytes) else target.encode()
    fields = {"Host": "test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if length is not None:
        fields["Content-Length"] = str(length)
    return b"%s %s HTTP/1.1\r\n" % (method.encode(), line) + b"".join(
        f"{name}: {value}\r\n".encode() for name, value in fields.items()
    ) + b"\r\n"  # fmt: skip


def chunked(*pieces: bytes) -> bytes:
    """``pieces`` as chunks, without the last one, which ends the body: ``b"0\\r\\n\\r\\n"``."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def ask(port: int, method: str, target: str | bytes, body: bytes = b"", **headers: str) -> Answer:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.ask(method, target, body, **headers)


async def read_answer(reader: asyncio.StreamReader, method: str = "POST") -> Answer:
    """The next answer on a stream. Raises asyncio.IncompleteReadError or OSError if the connection ends before."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    length = int(headers["content-length"]) if method != "HEAD" else 0
    return Answer(int(lines[0].split()[1]), headers, await reader.readexactly(length))
