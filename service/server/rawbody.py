"""The rest of a request's body from the network to the disk without the server between.

uvicorn's parser copies a body three times before an application sees it, on the event loop. Of a large upload the
server sees the head and the first bytes; the rest is read by the thread that hashes and writes it, into one buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from service.server.peer import WAKE_BYTES, Peer, PeerGone

if TYPE_CHECKING:
    from service.server.transport import FileTransport

# Up to here, to let the server read the rest costs less.
LEAST_BYTES = 128 * 1024


class RawBody:
    """``length`` bytes that are still to come. ``FileTransport.take`` makes it; nobody else reads the connection then.

    If bytes are left in the end, the connection can't be used for another request.
    """

    def __init__(self, transport: FileTransport, peer: Peer, length: int) -> None:
        self._length = length
        self._transport = transport
        self._peer = peer
        self._wake_at = 1
        self._counted = 0
        peer.received = 0
        self._set_wake_at(min(WAKE_BYTES, length))

    @property
    def left(self) -> int:
        """How many bytes are still to come."""
        return self._length - self._peer.received

    def receive(self, write: Callable[[memoryview], object]) -> memoryview | None:
        """See ``Peer.receive``: None as long as more is to come, then the last piece. For a thread."""
        return self._peer.receive(self.left, write)

    def count(self) -> int:
        """How many bytes were received since this was asked last."""
        received = self._peer.received
        found, self._counted = received - self._counted, received
        return found

    async def arrival(self, seconds: float) -> None:
        """Waits until it is worth while to call ``receive`` again, or for ``seconds``."""
        self._set_wake_at(min(WAKE_BYTES, self.left))
        await self._transport.until_readable(seconds)

    async def drop(self, seconds: float) -> None:
        """Receives and forgets the rest, for ``seconds`` at most, unless a thread still hangs over what came before."""
        self.stop()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        with contextlib.suppress(PeerGone):
            while self._peer.drop(self.left) and self.left and (wait := until - loop.time()) > 0:
                await self._transport.until_readable(wait)

    async def end(self) -> None:
        """Says that the client has gone."""
        await self._transport.end()

    def stop(self) -> None:
        """Says that ``arrival`` will not be asked for again."""
        self._set_wake_at(1)

    def _set_wake_at(self, received: int) -> None:
        if received != self._wake_at:
            self._peer.wake_at(received)
            self._wake_at = received
