"""What may be set of a connection, beyond what ``uvicorn.Config`` has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Headers = list[tuple[bytes, bytes]]
Scope = dict[str, Any]


def plain_text(status: int, detail: str, scope: Scope | None) -> tuple[Headers, bytes]:
    return [(b"content-type", b"text/plain; charset=utf-8")], detail.encode()


@dataclass(frozen=True, slots=True)
class Options:
    head_seconds: float = 30.0
    """How long the head of a request may take to arrive, and the rest of a body that nobody has asked for. A request may
    take ``timeout_keep_alive`` to begin, the first one as well. Apache's mod_reqtimeout gives 20 to 40 s."""
    stall_seconds: float = 60.0
    """How long a client may take nothing of an answer before it loses the connection."""
    least_bytes_per_second: float = 240.0
    """What a body has to arrive at, counted while the application waits for it. The default of ASP.NET's Kestrel."""
    rate_seconds: float = 30.0
    """Over how long that is measured."""
    waiting_bytes: int = 32 * 1024 * 1024
    """What all connections together may keep of heads that are not whole, and of requests whose turn has not come. Whoever
    brings more gets 503; small requests that are served at once keep nothing."""
    linger_seconds: float = 2.0
    """How long a connection that is about to end drops what its client still sends (RFC 9112, section 9.6)."""
    render: Callable[[int, str, Scope | None], tuple[Headers, bytes]] = plain_text
    """The header fields and the body of an answer that no application gives: to what is no HTTP, and after a failure.
    Called with the status, with what is wrong, and with the scope of the request if there is one."""
