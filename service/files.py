"""``/arquivos``: files in, files out.

Bodies pass through in pieces of bounded size; no file system call is made here, only handed to ``threads``.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from service import digests, ids
from service.conditions import Span, check_preconditions, http_date, is_not_modified, select_span
from service.downloads import DOWNLOAD_BYTES, Download, Whole
from service.errors import BadRequest, DigestMismatch, NotFound, Problem, Stalled, TooLarge, Unavailable
from service.record import Record
from service.settings import ApiSettings
from service.storage import DigestError, FileStore, Part, Stored, StoredFile
from service.threads import Threads
from service.tokens import Tokens, bearer

PAGE_LIMIT = 1000
# Received bytes are handed to a thread in pieces of at least so much, and the next piece collects meanwhile.
PIECE_BYTES = 128 * 1024
# However steadily it trickles in: an upload must end well before the sweep takes its part for abandoned.
LONGEST_UPLOAD_SECONDS = 12 * 3600
UNTYPED = "application/octet-stream"

# What was uploaded must never act in a browser as if this service had written it.
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class FileRoutes:
    def __init__(self, store: FileStore, threads: Threads, tokens: Tokens, settings: ApiSettings) -> None:
        self._store = store
        self._threads = threads
        self._tokens = tokens
        self._settings = settings
        self._uploads = 0

    def routes(self) -> list[BaseRoute]:
        return [
            # One route a path: Starlette's 405 names the methods of a single route only.
            _route("/arquivos", {"GET": self._list, "POST": self._store_file}),
            _route("/arquivos/{name}", {"GET": self._read, "DELETE": self._remove}),
        ]

    async def _authorize(self, request: Request) -> None:
        if self._settings.files_auth == "token":
            await self._tokens.check(bearer(request.headers.get("authorization")))

    async def _list(self, request: Request) -> Response:
        await self._authorize(request)
        limit = _limit(request.query_params.get("limit"))
        after = None
        if (given := request.query_params.get("after")) is not None and (after := ids.parse(given)) is None:
            raise BadRequest(f"after is {given!r}; allowed: a name from an earlier page")
        found = await self._threads.run(self._store.page, after, limit + 1)
        names = [f"{file_id}.txt" for file_id in found[:limit]]
        content: dict[str, object] = {"files": names}
        headers = {"Cache-Control": "no-store"}
        if len(found) > limit:
            content["next"] = names[-1]
            headers["Link"] = f'</arquivos?limit={limit}&after={quote(names[-1])}>; rel="next"'
        return JSONResponse(content, headers=headers)

    async def _store_file(self, request: Request) -> Response:
        await self._authorize(request)
        declared = _declared_length(request.headers)
        most = self._settings.files_max_bytes
        if declared is not None and declared > most:
            raise TooLarge(f"The body has {declared} bytes; allowed: {most}.")
        promised = digests.expected(request.headers)
        try:
            part = self._store.begin(_content_type(request.headers))
        except ValueError as error:
            raise BadRequest(f"Content-Type can't be kept: {error}; send a shorter one.") from None
        if self._uploads >= self._settings.files_max_uploads:
            raise Unavailable(f"{self._uploads} uploads are under way already; try again.", retry_after_seconds=2)
        self._uploads += 1
        try:
            stored = await self._take(request, part, declared, promised)
        except DigestError as error:
            sent = digests.field(error.actual.hex())
            raise DigestMismatch(f"The content received hashes to {sent}; nothing was stored. Send it again.") from None
        finally:
            self._uploads -= 1
            self._threads.forget(part.discard)
        return _created(stored, self._settings.files_label)

    async def _take(self, request: Request, part: Part, declared: int | None, promised: bytes | None) -> Stored:
        deadline = time.monotonic() + LONGEST_UPLOAD_SECONDS
        most = self._settings.files_max_bytes
        piece: list[bytes] = []
        in_piece = received = 0
        writing: asyncio.Future[None] | None = None
        more = True
        while more:
            chunk, more = await self._receive(request, deadline)
            received += len(chunk)
            if received > most:
                raise TooLarge(f"The body has more than the {most} bytes allowed; nothing was stored.")
            piece.append(chunk)
            in_piece += len(chunk)
            if more and in_piece >= PIECE_BYTES:
                if writing is not None:
                    await writing
                writing = self._threads.start(part.write, piece)
                piece, in_piece = [], 0
        if declared is not None and received != declared:
            raise BadRequest(f"The body has {received} bytes, Content-Length says {declared}; nothing was stored.")
        if writing is not None:
            await writing
        return await self._threads.run(part.publish, piece, promised)

    async def _receive(self, request: Request, deadline: float) -> tuple[bytes, bool]:
        bound = min(self._settings.files_stall_seconds, max(0.0, deadline - time.monotonic()))
        try:
            async with asyncio.timeout(bound):
                message = await request.receive()
        except TimeoutError:
            raise Stalled(f"Nothing arrived for {bound:g} s; nothing was stored.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)

    async def _read(self, request: Request) -> Response:
        await self._authorize(request)
        file_id = _file_id(request)
        head = request.method == "HEAD"
        with _missing_is_404(file_id):
            if head:
                file = await self._threads.run(self._store.describe, file_id)
            else:
                file = await self._threads.run(self._store.open, file_id, read_all_up_to=DOWNLOAD_BYTES)
        try:
            return self._answer(request, file, head=head)
        except Problem as problem:
            self._release(file)
            problem.headers.update(_describe(file.record, file.file_id))
            raise

    def _answer(self, request: Request, file: StoredFile, *, head: bool) -> Response:
        record = file.record
        etag, modified = digests.etag(record.sha256), ids.created(file.file_id)
        headers = _describe(record, file.file_id)
        check_preconditions(request.headers, etag, modified)
        if is_not_modified(request.headers, etag, modified):
            self._release(file)
            return Response(status_code=304, headers=headers)
        span = None if head else select_span(request.headers, etag, modified, record.size)
        status = 200
        if span is not None:
            status = 206
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{record.size}"
        span = span or Span(0, record.size)
        headers.update(_SAFE_HEADERS)
        headers["Content-Type"] = record.content_type
        headers["Content-Length"] = str(span.length)
        headers["Content-Disposition"] = f'attachment; filename="{file.file_id}.txt"'
        if file.content is not None:
            return Whole(b"" if head else file.read(span), status, headers)
        return Download(file, span, self._threads, status, headers)

    def _release(self, file: StoredFile) -> None:
        if not file.closed:
            self._threads.forget(file.close)

    async def _remove(self, request: Request) -> Response:
        await self._authorize(request)
        file_id = _file_id(request)
        headers = request.headers

        def check(record: Record) -> None:
            check_preconditions(headers, digests.etag(record.sha256), ids.created(file_id))

        conditional = "if-match" in headers or "if-unmodified-since" in headers
        with _missing_is_404(file_id):
            await self._threads.run(self._store.remove, file_id, check if conditional else None)
        return Response(status_code=204)


class _missing_is_404:
    def __init__(self, file_id: str) -> None:
        self._file_id = file_id

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        # ESTALE: another host has removed the file between its name being found and its content being opened.
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ESTALE):
            raise NotFound(f"There is no file {self._file_id}.") from None


Handler = Callable[[Request], Awaitable[Response]]


def _route(path: str, handlers: Mapping[str, Handler]) -> Route:
    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(handlers))


def _created(stored: Stored, label: str) -> Response:
    content = {
        "message": "Arquivo salvo com sucesso",
        "file": f"{label}/{stored.file_id}.txt",
        "id": stored.file_id,
        "size": stored.record.size,
        "sha256": stored.record.sha256,
    }
    headers = {"Location": f"/arquivos/{stored.file_id}", "ETag": digests.etag(stored.record.sha256)}
    return JSONResponse(content, 201, headers)


def _describe(record: Record, file_id: str) -> dict[str, str]:
    return {
        "ETag": digests.etag(record.sha256),
        "Repr-Digest": digests.field(record.sha256),
        "Last-Modified": http_date(ids.created(file_id)),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }


def _file_id(request: Request) -> str:
    name = request.path_params["name"]
    file_id = ids.parse(name)
    if file_id is None:
        raise NotFound(f"There is no file {name!r}.")
    return file_id


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_LIMIT
    limit = int(given) if given.isascii() and given.isdigit() and len(given) <= 4 else 0
    if not 1 <= limit <= PAGE_LIMIT:
        raise BadRequest(f"limit is {given!r}; allowed: a whole number from 1 to {PAGE_LIMIT}")
    return limit


def _declared_length(headers: Headers) -> int | None:
    value = headers.get("content-length")
    return int(value) if value is not None else None


def _content_type(headers: Headers) -> str:
    value = headers.get("content-type", "").strip()
    return value if value and value.isascii() and value.isprintable() else UNTYPED
