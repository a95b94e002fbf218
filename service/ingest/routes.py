"""``POST /ingest`` and ``POST /submit``: a client's data, checked and put on the queue."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from service.aws.queues import BATCH_BYTES, Outgoing
from service.http import asgi
from service.http.errors import (
    BadRequest,
    PreconditionFailed,
    Problem,
    Stalled,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from service.http.idle_timeouts import IdleTimeouts
from service.http.tokens import Tokens, bearer
from service.ingest import payload
from service.ingest.batching import Batcher
from service.ingest.payload import Members
from service.thread_pool import ThreadPool

# Room for the token, for blanks and for characters that take more bytes in the request than in the message.
BODY_BYTES = BATCH_BYTES + 64 * 1024
STALL_SECONDS = 30.0
# However steadily a body trickles in: who sends it is known only when it is whole, unless a header says so.
BODY_SECONDS = 60.0
# What the bodies under way may take together; read, they take a few times as much.
GATHERED_BYTES = 64 * 1024 * 1024
# A body up to this size takes a few milliseconds to read at worst, whatever is in it: no thread is needed.
SMALL_BYTES = 64 * 1024

_KEY = re.compile(r"[\x20-\x7e]{1,255}")

_Data = tuple[str, datetime]
_Reader = Callable[[Members], _Data]


class IngestRoutes:
    """``body_seconds`` is how long a body may take as a whole, ``gathered_bytes`` what bodies may take together."""

    def __init__(
        self,
        sender: Batcher,
        tokens: Tokens,
        *,
        stall_seconds: float = STALL_SECONDS,
        body_seconds: float = BODY_SECONDS,
        gathered_bytes: int = GATHERED_BYTES,
    ) -> None:
        self._sender = sender
        self._tokens = tokens
        self._stalls = IdleTimeouts(stall_seconds)
        self._body_seconds = body_seconds
        self._gathered_bytes = gathered_bytes
        self._gathered = 0
        # One: to read bodies takes processor time, of which more threads have no more. Its threads end when idle.
        self._threads = ThreadPool("bodies", 1)

    def routes(self) -> list[BaseRoute]:
        return [
            asgi.route("/ingest", {"POST": self._ingest}),
            asgi.route("/submit", {"POST": self._submit}),
        ]

    async def _ingest(self, scope: Scope, receive: Receive, send: Send) -> None:
        data, moment = await self._take(scope, receive, payload.nested_data)
        await self._accept(scope, send, data, moment)

    async def _submit(self, scope: Scope, receive: Receive, send: Send) -> None:
        data, moment = await self._take(scope, receive, payload.flat_data)
        await self._accept(scope, send, data, moment)

    async def _take(self, scope: Scope, receive: Receive, read: _Reader) -> _Data:
        """The data in the body, found by ``read``, from a client that may send it."""
        media_type = (asgi.header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(f"Content-Type is {media_type or 'not set'!r}; allowed: application/json")
        header_token = bearer(asgi.header(scope, b"authorization"))
        if header_token is not None:
            await self._tokens.check(header_token)
        declared = asgi.header(scope, b"content-length")
        if declared is not None and int(declared) > BODY_BYTES:
            raise TooLarge(f"The body has {declared} bytes; allowed: {BODY_BYTES}.")
        if b"if-match" in scope["fields"]:
            raise PreconditionFailed("If-Match names an entity tag; nothing is kept here that could have one.")
        body, more = await self._receive(receive)
        if more or len(body) > SMALL_BYTES:
            return await self._take_large(body, more, receive, read, authorized=header_token is not None)
        members = payload.split(body)
        if header_token is None:
            await self._tokens.check(payload.read_token(members))
        return read(members)

    async def _take_large(
        self, piece: bytes, more: bool, receive: Receive, read: _Reader, *, authorized: bool
    ) -> _Data:
        """The same for a body that is large or comes in pieces, counted until its client is known."""
        deadline = time.monotonic() + self._body_seconds
        # Not a list: each of half a million small pieces would take more memory than what is in it.
        body = bytearray()
        try:
            while True:
                self._gather(body, piece)
                if not more:
                    break
                piece, more = await self._receive(receive)
                if time.monotonic() > deadline:
                    raise Stalled(f"The body did not end within {self._body_seconds:g} s.")
            if len(body) <= SMALL_BYTES:
                token, outcome = _read(body, read)
            else:
                token, outcome = await self._threads.run(_read, body, read)
            if not authorized:
                await self._tokens.check(token)
        finally:
            self._gathered -= len(body)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def _gather(self, body: bytearray, piece: bytes) -> None:
        size = len(body) + len(piece)
        if size > BODY_BYTES:
            raise TooLarge(f"The body has more than {BODY_BYTES} bytes, which is all that is allowed.")
        # Those that are small, and only come in pieces, still pass when large ones have taken what they may.
        most = self._gathered_bytes if size <= SMALL_BYTES else self._gathered_bytes * 3 // 4
        if self._gathered + len(piece) > most:
            raise Unavailable("Too many bodies are being received; try again.", retry_after_seconds=2)
        self._gathered += len(piece)
        body += piece

    async def _receive(self, receive: Receive) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there is more."""
        try:
            message = await self._stalls.receive(receive)
        except TimeoutError:
            raise Stalled(f"Nothing arrived for {self._stalls.seconds:g} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)

    async def _accept(self, scope: Scope, send: Send, data: str, moment: datetime) -> None:
        key = asgi.header(scope, b"idempotency-key")
        name = None
        if key is not None:
            if not _KEY.fullmatch(key):
                raise BadRequest(f"Idempotency-Key is {key[:300]!r}; allowed: 1 to 255 printable ASCII characters")
            name = payload.object_name(key, data, payload.date_path(moment))
        message = Outgoing(data, name)
        size = message.size
        if size > BATCH_BYTES:
            raise TooLarge(f"The data makes a message of {size} bytes; the queue takes {BATCH_BYTES}.")
        message_id = await self._sender.send(message, size)
        content = {"message": "Payload accepted and queued.", "message_id": message_id}
        await asgi.answer_json(send, HTTPStatus.ACCEPTED, content)


def _read(body: bytearray, read: _Reader) -> tuple[bytes | None, _Data | Problem]:
    """The token in ``body`` and what ``read`` finds in it, or says of it. Raises NotJson.

    Nothing else of the body is left: its values may take thirty times the memory of the text.
    """
    members = payload.split(body)
    token = payload.read_token(members)
    try:
        return token, read(members)
    except Problem as problem:
        return token, problem
