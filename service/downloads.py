"""Answers that carry a file's content."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.conditions import Span
from service.storage import StoredFile
from service.threads import Threads

# The piece that is read at once; up to two of them are in memory for each download.
DOWNLOAD_BYTES = 256 * 1024


class Whole(Response):
    """Content that is in memory, under headers that are complete."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        self.raw_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]


class Download(Whole):
    """A span of an open file, read ahead by one piece while the piece before is sent."""

    def __init__(self, file: StoredFile, span: Span, threads: Threads, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(b"", status, headers)
        self._file = file
        self._span = span
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The server drops what is sent to a client that has gone; without this, all of the file would be read.
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            position = self._span.start
            ahead = self._start(position)
            while not gone.done():
                content = await ahead
                position += len(content)
                more = position < self._span.stop
                if more:
                    ahead = self._start(position)
                await send({"type": "http.response.body", "body": content, "more_body": more})
                if not more:
                    return
        finally:
            gone.cancel()
            self._threads.forget(self._file.close)

    def _start(self, position: int) -> asyncio.Future[bytes]:
        stop = min(position + DOWNLOAD_BYTES, self._span.stop)
        return self._threads.start(self._file.read, Span(position, stop))


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
