"""Answers that carry a file's content in pieces."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send

from service.conditions import Span
from service.plain import RawHeaders
from service.storage import StoredFile
from service.threads import Threads

# A piece is read at once, the larger the faster, and up to two of each download are in memory. All downloads together
# hold about so much, whether they are few and fast or many and slow.
PIECES_BYTES = 64 * 1024 * 1024
PIECE_BYTES = (32 * 1024, 1024 * 1024)


class Downloads:
    """Counts the downloads under way, and shares the memory among them."""

    def __init__(self) -> None:
        self.under_way = 0

    @property
    def piece_bytes(self) -> int:
        least, most = PIECE_BYTES
        return max(least, min(most, PIECES_BYTES // (2 * self.under_way + 2)))


async def download(
    file: StoredFile,
    span: Span,
    threads: Threads,
    downloads: Downloads,
    status: int,
    headers: RawHeaders,
    receive: Receive,
    send: Send,
) -> None:
    """Sends ``span`` of ``file``, read ahead by one piece while the piece before is sent, and closes the file."""
    # The server drops what is sent to a client that has gone; without this, all of the file would be read.
    gone = asyncio.create_task(_until_disconnect(receive))

    def read(position: int) -> asyncio.Future[bytes]:
        return threads.start(file.read, Span(position, min(position + downloads.piece_bytes, span.stop)))

    try:
        ahead = read(span.start)
        # The first piece before the status: a file that can't be read is then still told as an error.
        await asyncio.wait((ahead,))
        content = ahead.result()
        position = span.start + len(content)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while position < span.stop and not gone.done():
            ahead = read(position)
            await send({"type": "http.response.body", "body": content, "more_body": True})
            content = await ahead
            position += len(content)
        if not gone.done():
            await send({"type": "http.response.body", "body": content, "more_body": False})
    finally:
        gone.cancel()
        threads.forget(file.close)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
