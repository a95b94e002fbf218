"""One connection of HTTP/1.1, for uvicorn: ``Config(http=http_protocol(...))``.

uvicorn keeps what it does well (sockets, lifespan, signals, the date); ``HttpProtocol`` is all of what happens on a
connection, from the first byte to the lingering close, and imports nothing of the service around it. Large bodies and
files pass between the network and the disk by two ASGI extensions, which ``extensions`` describes.
"""

from __future__ import annotations

import asyncio
from typing import cast

from service.server.connection import HttpProtocol
from service.server.options import Options

__all__ = ["HttpProtocol", "Options", "http_protocol"]


def http_protocol(options: Options) -> type[asyncio.Protocol]:
    """``HttpProtocol`` with ``options``, as ``uvicorn.Config`` takes it for ``http``."""
    return cast("type[asyncio.Protocol]", type("HttpProtocol", (HttpProtocol,), {"options": options}))
