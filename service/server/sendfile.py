"""Files from the disk to the network without a copy: sendfile(2) under uvicorn.

uvicorn sends only bytes, and to read a large file into bytes and write them to a socket takes three times the processor
time of sendfile. A ``FileBody`` stands for a slice of a file in an ASGI message; the ``FileTransport`` under uvicorn's
protocol sends it, in order with all else that is written.

A file may lie on a network, so that sendfile may wait: it runs in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.files.store import StoredFile
from service.http.conditions import ByteRange
from service.thread_pool import ThreadPool

if TYPE_CHECKING:
    from service.server.transport import FileTransport


class FileBody(bytes):
    """A slice of a file as the ``body`` of an ASGI message, for a connection that has a ``FileTransport``.

    uvicorn asks a body for its length and hands it to the transport: this one tells the length of the slice, but the
    bytes stay in the file. Only under a ``Content-Length``: as a chunk it would be empty.
    """

    file: StoredFile
    span: ByteRange
    is_last: bool
    transport: FileTransport | None

    def __new__(cls, file: StoredFile, span: ByteRange, *, is_last: bool) -> FileBody:
        """``file`` is closed once its last slice has been sent."""
        body = super().__new__(cls)
        body.file, body.span, body.is_last, body.transport = file, span, is_last, None
        return body

    def __len__(self) -> int:
        return self.span.length

    async def sent(self, threads: ThreadPool, stall_seconds: float) -> bool:
        """Sends the slice, to be called once the message has been; False if the client has gone.

        A client that takes nothing for ``stall_seconds`` is given up like one that has gone. The calls that may wait for
        a disk are made in ``threads``. Raises what they or ``StoredFile.send`` raised. Then, and when this is cancelled,
        the connection is aborted: nothing can follow in place of what was promised.
        """
        # A server drops what is sent to a client that has gone.
        return self.transport is not None and await self.transport.send(self, threads, stall_seconds)
