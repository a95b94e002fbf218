"""One connection of HTTP/1.1, for uvicorn: ``Config(http=http_protocol(...))``.

uvicorn keeps what it does well (sockets, lifespan, signals, the date); ``HttpProtocol`` is all of what happens on a
connection, from the first byte to the lingering close, and imports nothing of the service around it. Large bodies and
files pass between the network and the disk by two ASGI extensions, which ``extensions`` describes.
"""

from __future__ import annotations

from service.server.connection import HttpProtocol, http_protocol
from service.server.options import Options

__all__ = ["HttpProtocol", "Options", "http_protocol"]
