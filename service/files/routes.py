"""``/arquivos``: files in, files out.

Bodies pass through in pieces of bounded size; no file system call is made here, only handed to threads. Reading and
writing have threads of their own, so that uploads that wait for a disk don't hold up downloads.
"""

from __future__ import annotations

import asyncio
import errno
import json
import time
from functools import lru_cache

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from service.files import codings, ids
from service.files.downloads import Downloads, download
from service.files.pages import Pages
from service.files.record import Record
from service.files.store import DigestError, FileStore, Part, Stored, StoredFile
from service.http import digests
from service.http.asgi import RawHeaders, answer, header, route
from service.http.conditions import (
    ByteRange,
    check_change,
    check_preconditions,
    http_date,
    is_not_modified,
    select_range,
)
from service.http.errors import BadRequest, DigestMismatch, NotFound, Problem, Stalled, TooLarge, Unavailable
from service.http.fields import Fields, select
from service.http.idle_timeouts import IdleTimeouts
from service.http.malloc_trim import MallocTrim
from service.http.tokens import UNREAD_BODY_BYTES, Tokens, bearer
from service.settings import ApiSettings
from service.telemetry.metrics import Metrics
from service.thread_pool import ThreadPool

# The server's ASGI extension by which the rest of a body goes from the network to ``write`` in a thread. From here on that
# costs less than to have the server read it.
RECEIVE_INTO = "http.request.receiveinto"
RECEIVE_INTO_BYTES = 128 * 1024
# Received bytes are handed to a thread in pieces, and the next piece collects meanwhile. All uploads together hold no
# more than so much, whether they are few and fast or many and slow.
PIECES_BYTES = 8 * 1024 * 1024
LARGEST_PIECE_BYTES = 256 * 1024
# However steadily it trickles in: an upload must end well before the sweep takes its part for abandoned.
LONGEST_UPLOAD_SECONDS = 12 * 3600
UNTYPED = "application/octet-stream"

_DIGESTS = frozenset((b"content-digest", b"repr-digest"))
_CONDITIONS = frozenset(
    (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range")
)
# What was uploaded must never act in a browser as if this service had written it.
_SAFE_HEADERS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class FileRoutes:
    """``readers`` and ``writers`` are for the file system alone. Closing them is left to who made them."""

    def __init__(
        self,
        store: FileStore,
        tokens: Tokens,
        settings: ApiSettings,
        *,
        readers: ThreadPool,
        writers: ThreadPool,
        metrics: Metrics | None = None,
        malloc_trim: MallocTrim | None = None,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._settings = settings
        self._needs_token = settings.files_auth == "token"
        self._readers = readers
        self._writers = writers
        self._metrics = metrics or Metrics("api")
        self._malloc_trim = malloc_trim or MallocTrim()
        self._idle_timeouts = IdleTimeouts(settings.files_stall_seconds)
        # As it stands within a string of JSON.
        self._label = json.dumps(settings.files_label, ensure_ascii=False)[1:-1]
        self._pages = Pages(store, readers)
        self._uploads = 0
        self._downloads = Downloads()

    def routes(self) -> list[BaseRoute]:
        return [
            route("/arquivos/{name}", {"GET": self._read, "DELETE": self._remove}),
            route("/arquivos", {"GET": self._list, "POST": self._store_file}),
            route("/arquivos/", {"GET": self._list}),
        ]

    async def _authorize(self, scope: Scope) -> None:
        held_bytes = UNREAD_BODY_BYTES if scope["method"] == "POST" else 0
        await self._tokens.check(bearer(header(scope, b"authorization")), held_bytes)

    async def _list(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._needs_token:
            await self._authorize(scope)
        await self._pages.answer(scope, send)

    async def _store_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._needs_token:
            await self._authorize(scope)
        fields: Fields = scope["fields"]
        length = fields.get(b"content-length")
        declared = None if length is None else int(length)
        content_type = _content_type(fields.get(b"content-type", b""))
        encoded = fields.get(b"content-encoding")
        promised = None if _DIGESTS.isdisjoint(fields) else digests.expected(select(scope, _DIGESTS))
        most = self._settings.files_max_bytes
        if declared is not None and declared > most:
            raise TooLarge(f"The body has {declared} bytes; allowed: {most}.")
        try:
            part = self._store.begin(content_type, codings.parse(encoded) if encoded else "")
        except ValueError as error:
            what = "Content-Type and Content-Encoding" if encoded else "Content-Type"
            raise BadRequest(f"{what} can't be kept: {error}; send less.") from None
        if self._uploads >= self._settings.files_max_uploads:
            raise Unavailable(f"{self._uploads} uploads are under way already; try again.", retry_after_seconds=2)
        if not _CONDITIONS.isdisjoint(fields):
            # Of the list of files, which has no entity tag and no date.
            check_change(select(scope, _CONDITIONS), None, None)
        self._uploads += 1
        try:
            stored = await self._take(scope, receive, send, part, declared, promised)
        except DigestError as error:
            sent = digests.field(error.actual.hex())
            raise DigestMismatch(f"The content received hashes to {sent}; nothing was stored. Send it again.") from None
        except (ClientDisconnect, Stalled):
            self._metrics.add("UploadsAborted")
            part.abandon()
            raise
        except BaseException:
            part.abandon()
            raise
        finally:
            self._uploads -= 1
            if not part.is_clean:
                self._writers.forget(part.discard)
        await _created(send, stored, self._label)

    async def _take(
        self, scope: Scope, receive: Receive, send: Send, part: Part, declared: int | None, promised: bytes | None
    ) -> Stored:
        deadline = time.monotonic() + LONGEST_UPLOAD_SECONDS
        most = self._settings.files_max_bytes
        piece: list[bytes] = []
        in_piece = received = 0
        writing: asyncio.Future[None] | None = None
        takes_rest = (
            declared is not None and declared > RECEIVE_INTO_BYTES and RECEIVE_INTO in scope.get("extensions", ())
        )
        more = True
        while more:
            message = await self._receive(receive, deadline)
            chunk, more = message.get("body", b""), message.get("more_body", False)
            received += len(chunk)
            self._malloc_trim.passed += len(chunk)
            if received > most:
                raise TooLarge(f"The body has more than the {most} bytes allowed; nothing was stored.")
            piece.append(chunk)
            in_piece += len(chunk)
            # Not held on to while the next one is waited for, which a slow client may make long.
            chunk = b""
            del message
            if takes_rest and more:
                assert declared is not None
                if declared - received >= RECEIVE_INTO_BYTES:
                    return await self._take_rest(receive, send, part, piece, promised, deadline)
                takes_rest = False
            if more and in_piece >= min(LARGEST_PIECE_BYTES, PIECES_BYTES // self._uploads):
                if writing is not None:
                    await writing
                part.begun = True
                writing = self._writers.start(part.write, piece)
                piece, in_piece = [], 0
        if declared is not None and received != declared:
            raise BadRequest(f"The body has {received} bytes, Content-Length says {declared}; nothing was stored.")
        if writing is not None:
            await writing
        part.begun = True
        return await self._writers.start(part.publish, piece, promised)

    async def _take_rest(
        self, receive: Receive, send: Send, part: Part, piece: list[bytes], promised: bytes | None, deadline: float
    ) -> Stored:
        """Has the server write what is still to come, after ``piece``."""
        stored: list[Stored] = []

        def write(view: memoryview, more_body: bool) -> None:
            if piece:
                part.write(piece)
                # A slow client's request would hold on to it.
                piece.clear()
            if more_body:
                part.write((view,))
            else:
                stored.append(part.publish((view,), promised))

        part.begun = True
        await send({"type": RECEIVE_INTO, "write": write, "run": self._writers.start})
        more = True
        while more:
            message = await self._receive(receive, deadline)
            self._malloc_trim.passed += message["count"]
            more = message["more_body"]
        return stored[0]

    async def _receive(self, receive: Receive, deadline: float) -> Message:
        try:
            message = await self._idle_timeouts.receive(receive)
        except TimeoutError:
            raise Stalled(f"Nothing arrived for {self._idle_timeouts.seconds:g} s; nothing was stored.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if time.monotonic() > deadline:
            hours = LONGEST_UPLOAD_SECONDS // 3600
            raise Stalled(f"The body did not end within {hours} hours; nothing was stored.")
        return message

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._needs_token:
            await self._authorize(scope)
        file_id = _file_id(scope)
        head = scope["method"] == "HEAD"
        try:
            if head:
                file = await self._readers.start(self._store.describe, file_id)
            else:
                most = self._downloads.inline_bytes(scope)
                file = await self._readers.start(self._store.open, file_id, read_all_up_to=most)
        except OSError as error:
            raise _missing(error, file_id) from error
        record = file.record
        headers = _describe(record, file_id)
        span, status = ByteRange(0, record.size), 200
        if not _CONDITIONS.isdisjoint(scope["fields"]):
            asked = select(scope, _CONDITIONS)
            etag, modified = digests.etag(record.sha256), ids.created(file_id)
            try:
                check_preconditions(asked, etag, modified)
                if is_not_modified(asked, etag, modified):
                    self._release(file)
                    await answer(send, 304, headers)
                    return
                wanted = None if head else select_range(asked, etag, modified, record.size)
            except Problem as problem:
                self._release(file)
                problem.headers.update({name.decode(): value.decode() for name, value in headers})
                raise
            if wanted is not None:
                span, status = wanted, 206
                headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, record.size)))
        headers += _SAFE_HEADERS
        headers.append((b"content-type", record.content_type.encode()))
        if record.content_encoding:
            headers.append((b"content-encoding", record.content_encoding.encode()))
        headers.append((b"content-length", b"%d" % span.length))
        headers.append((b"content-disposition", b'attachment; filename="%s.txt"' % file_id.encode()))
        self._downloads.under_way += 1
        try:
            if file.content is not None:
                content = b"" if head else file.content
                await answer(send, status, headers, content if status == 200 else content[span.start : span.stop])
                self._release(file)
            else:
                await download(file, span, self._readers, self._downloads, status, headers, scope, receive, send)
        finally:
            self._downloads.under_way -= 1

    def _release(self, file: StoredFile) -> None:
        if not file.closed:
            self._readers.forget(file.close)

    async def _remove(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._needs_token:
            await self._authorize(scope)
        file_id = _file_id(scope)
        asked = select(scope, _CONDITIONS)

        def check(record: Record) -> None:
            check_change(asked, digests.etag(record.sha256), ids.created(file_id))

        try:
            await self._writers.run(self._store.remove, file_id, check if asked else None)
        except OSError as error:
            raise _missing(error, file_id) from error
        await answer(send, 204, [])


def _missing(error: OSError, file_id: str) -> Exception:
    return NotFound(f"There is no file {file_id}.") if error.errno == errno.ENOENT else error


async def _created(send: Send, stored: Stored, label: str) -> None:
    # What json.dumps() would make of it, in a fifth of the time: all of it but the label is known to be plain.
    file_id, content = stored.file_id, stored.record
    body = (
        f'{{"message":"Arquivo salvo com sucesso","file":"{label}/{file_id}.txt","id":"{file_id}",'
        f'"size":{content.size},"sha256":"{content.sha256}"}}'
    ).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"location", b"/arquivos/%b" % file_id.encode()),
        (b"etag", digests.etag(content.sha256).encode()),
    ]
    await answer(send, 201, headers, body)


def _describe(record: Record, file_id: str) -> RawHeaders:
    return [
        (b"etag", digests.etag(record.sha256).encode()),
        (b"repr-digest", digests.field(record.sha256).encode()),
        # Another host's clock may be ahead of this one's (RFC 9110, section 8.8.2.1).
        (b"last-modified", _last_modified(min(ids.created(file_id), int(time.time())))),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"private, no-cache"),
    ]


@lru_cache(maxsize=1024)
def _last_modified(seconds: int) -> bytes:
    return http_date(seconds).encode()


def _file_id(scope: Scope) -> str:
    name = scope["path_params"]["name"]
    file_id = ids.parse(name)
    if file_id is None:
        raise NotFound(f"There is no file {name!r}.")
    return file_id


@lru_cache(maxsize=256)
def _content_type(value: bytes) -> str:
    text = value.decode("latin-1").strip()
    return text if text and text.isascii() and text.isprintable() else UNTYPED
