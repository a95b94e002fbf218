"""Whether this process still wants work; shared by the server, which knows, and by the routes, which answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Lifecycle:
    draining: bool = False
    """Set once by the first SIGTERM; new requests are still answered, but load balancers are told to go elsewhere."""
