"""What an ASGI scope has of a connection, and of a request's target."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
import uvicorn

from service.server.refused import Refused


def of_connection(config: uvicorn.Config, transport: asyncio.Transport) -> dict[str, Any]:
    """What is the same for all requests of a connection."""
    return {
        "type": "http",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "scheme": "https" if transport.get_extra_info("sslcontext") is not None else "http",
        "server": _address(transport.get_extra_info("sockname")),
        "client": _address(transport.get_extra_info("peername")),
        "root_path": config.root_path,
    }


def split_target(method: str, target: bytes) -> tuple[bytes, bytes]:
    """The path and the query of one that is not simply these. Raises Refused."""
    if target == b"*":
        if method != "OPTIONS":  # RFC 9112, section 3.2.4
            raise Refused(400, "The target * is of OPTIONS alone.")
        return target, b""
    # Of a proxy's client, or with a fragment.
    try:
        found = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise Refused(400, "The request's target can't be read.") from None
    return found.path or b"/", found.query or b""


def _address(name: Any) -> tuple[str, int | None] | None:
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if name and isinstance(name, str) else None
