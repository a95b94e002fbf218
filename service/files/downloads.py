"""Answers that carry a file's content in pieces."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from service.files.record import DamagedFile
from service.files.store import StoredFile
from service.http.asgi import RawHeaders
from service.http.conditions import ByteRange
from service.thread_pool import ThreadPool

# The ASGI extension: https://asgi.readthedocs.io/en/latest/extensions.html#zero-copy-send. With ``run``, which a server may
# not know, the calls that may wait for a disk are made where all such calls are.
ZERO_COPY_SEND = "http.response.zerocopysend"

# A piece is read at once, the larger the faster, and up to two of each download are in memory. All downloads together
# hold about so much, whether they are few and fast or many and slow.
PIECES_BYTES = 64 * 1024 * 1024
PIECE_BYTES = (32 * 1024, 1024 * 1024)
# Up to here, to read and write costs less than one more visit to a thread for sendfile.
INLINE_BYTES = 128 * 1024
# One message for so much of a file that is sent without a copy: what is logged as sent is off by less than this when a
# client vanishes.
SLICE_BYTES = 32 * 1024 * 1024


class Downloads:
    """Counts the downloads under way, and shares the memory among them."""

    def __init__(self) -> None:
        self.under_way = 0

    @property
    def piece_bytes(self) -> int:
        least, most = PIECE_BYTES
        return max(least, min(most, PIECES_BYTES // (2 * self.under_way + 2)))

    def inline_bytes(self, scope: Scope) -> int:
        """Up to this size a file is best read whole by the thread that opens it, and sent in one piece."""
        return min(INLINE_BYTES, self.piece_bytes) if _sends_files(scope) else self.piece_bytes


async def download(
    file: StoredFile,
    span: ByteRange,
    threads: ThreadPool,
    downloads: Downloads,
    status: int,
    headers: RawHeaders,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Sends ``span`` of ``file`` and closes the file: without a copy where the server can, else through memory."""
    try:
        if _sends_files(scope):
            await _without_copy(file, span, threads, status, headers, send)
        else:
            await _through_memory(file, span, threads, downloads, status, headers, receive, send)
    finally:
        if not file.closed:
            threads.forget(file.close)


def _sends_files(scope: Scope) -> bool:
    return ZERO_COPY_SEND in scope.get("extensions", ())


async def _without_copy(
    file: StoredFile, span: ByteRange, threads: ThreadPool, status: int, headers: RawHeaders, send: Send
) -> None:
    if span.start:
        # A file that can't be read is still told as an error. Opening it has read from its start and from its end.
        await threads.start(file.read, ByteRange(span.start, span.start + 1))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    position = span.start
    while position < span.stop:
        count = min(SLICE_BYTES, span.stop - position)
        message = {"type": ZERO_COPY_SEND, "file": file, "offset": position, "count": count, "run": threads.start}
        position += count
        try:
            await send({**message, "more_body": position < span.stop})
        except EOFError as error:
            raise DamagedFile(f"{file.file_id}: cut short while it was sent") from error


async def _through_memory(
    file: StoredFile,
    span: ByteRange,
    threads: ThreadPool,
    downloads: Downloads,
    status: int,
    headers: RawHeaders,
    receive: Receive,
    send: Send,
) -> None:
    """Reads one piece ahead while the piece before is sent."""
    # The server drops what is sent to a client that has gone; without this, all of the file would be read.
    gone = asyncio.create_task(_until_disconnect(receive))

    def read(position: int) -> asyncio.Future[bytes]:
        return threads.start(file.read, ByteRange(position, min(position + downloads.piece_bytes, span.stop)))

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


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
