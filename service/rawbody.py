"""The rest of a request's body from the network to the disk without the server between.

uvicorn's parser copies a body three times before an application sees it, on the event loop. Of a large upload the
server sees the head and the first bytes; the rest is read by the thread that hashes and writes it, into one buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from service.peer import WAKE_BYTES, Peer

if TYPE_CHECKING:
    from service.transport import FileTransport

# Up to here, to let the server read the rest costs less.
LEAST_BYTES = 128 * 1024


class RawBody:
    """``length`` bytes that are still to come. ``FileTransport.take`` makes it; nobody else reads the connection then.

    ``stop`` must follow in the end. If bytes are left then, the connection can't be used for another request.
    """

    def __init__(self, transport: FileTransport, peer: Peer, length: int) -> None:
        self.left = length
        self._transport = transport
        self._peer = peer
        self._wake_at = 1
        self._uncounted = 0
        self._set_wake_at(min(WAKE_BYTES, length))

    def receive(self, write: Callable[[memoryview], object]) -> memoryview | None:
        """See ``Peer.receive``: None as long as more is to come, then the last piece. For a thread."""
        received, last = self._peer.receive(self.left, write)
        self.left -= received
        self._uncounted += received
        return last

    def count(self) -> int:
        """How many bytes were received since this was asked last."""
        found, self._uncounted = self._uncounted, 0
        return found

    async def arrival(self, seconds: float) -> None:
        """Waits until it is worth while to call ``receive`` again, or for ``seconds``."""
        self._set_wake_at(min(WAKE_BYTES, self.left))
        await self._transport.until_readable(seconds)

    async def end(self) -> None:
        """Says that the client has gone."""
        await self._transport.end()

    def stop(self) -> None:
        """Leaves the connection to the server again: once the answer is sent or, if bytes are left, at once."""
        self._set_wake_at(1)
        self._transport.give_back()

    def _set_wake_at(self, received: int) -> None:
        if received != self._wake_at:
            self._peer.wake_at(received)
            self._wake_at = received
