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
from service.http import asgi, fields
from service.http.errors import BadRequest, PreconditionFailed, Stalled, TooLarge, UnsupportedMediaType
from service.http.idle_timeouts import IdleTimeouts
from service.http.malloc_trim import MallocTrim
from service.http.tokens import UNREAD_BODY_BYTES, Tokens, bearer
from service.ingest import payload
from service.ingest.batching import Batcher
from service.ingest.bodies import HELD_BYTES, Bodies, Body
from service.ingest.payload import Members
from service.thread_pool import ThreadPool

# Room for the token, for blanks and for characters that take more bytes in the request than in the message.
BODY_BYTES = BATCH_BYTES + 64 * 1024
STALL_SECONDS = 30.0
# However steadily a body trickles in: who sends it is known only when it is whole, unless a header says so.
BODY_SECONDS = 60.0
# A body up to this size takes a fraction of a millisecond to read, whatever is in it. A thread costs more, and a thousand
# larger ones that arrive at once would keep everyone else waiting for seconds.
INLINE_BYTES = 8 * 1024

_KEY = re.compile(r"[\x20-\x7e]{1,255}")

_Data = tuple[str, datetime]
_Finder = Callable[[Members], _Data]
_Knows = Callable[[bytes | None], bool]


class IngestRoutes:
    """``body_seconds`` is how long a body may take as a whole, ``held_bytes`` what all bodies may take together."""

    def __init__(
        self,
        sender: Batcher,
        tokens: Tokens,
        *,
        stall_seconds: float = STALL_SECONDS,
        body_seconds: float = BODY_SECONDS,
        held_bytes: int = HELD_BYTES,
        malloc_trim: MallocTrim | None = None,
    ) -> None:
        self._sender = sender
        self._malloc_trim = malloc_trim or MallocTrim()
        self._tokens = tokens
        self._idle_timeouts = IdleTimeouts(stall_seconds)
        self._body_seconds = body_seconds
        self._bodies = Bodies(BODY_BYTES, held_bytes)
        # One: to read bodies takes processor time, of which more threads have no more. Its threads end when idle.
        self.threads = ThreadPool("bodies", 1)

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

    async def _take(self, scope: Scope, receive: Receive, find: _Finder) -> _Data:
        """The data in the body, found by ``find``, from a client that may send it."""
        media_type = (asgi.header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(f"Content-Type is {media_type or 'not set'!r}; allowed: application/json")
        _check_coding(scope)
        declared = asgi.header(scope, b"content-length")
        header_token = bearer(asgi.header(scope, b"authorization"))
        if header_token is not None and not self._tokens.knows(header_token):
            unread = UNREAD_BODY_BYTES if declared is None else min(int(declared), UNREAD_BODY_BYTES)
            await self._tokens.check(header_token, unread)
        if declared is not None and int(declared) > BODY_BYTES:
            raise TooLarge(f"The body has {declared} bytes; allowed: {BODY_BYTES}.")
        if b"if-match" in scope["fields"]:
            raise PreconditionFailed("If-Match names an entity tag; nothing is kept here that could have one.")
        piece, more = await self._receive(receive)
        if not more and len(piece) <= INLINE_BYTES:
            members = payload.split(piece)
            if header_token is None and not self._tokens.knows(token := payload.read_token(members)):
                # What a body means must not wait: it takes many times as much memory as the text.
                del members
                await self._tokens.check(token, len(piece))
                members = payload.split(piece)
            return find(members)
        with self._bodies.begin() as body:
            body.add(piece)
            piece = b""
            if more:
                await self._receive_rest(receive, body)
            knows = self._tokens.knows if header_token is None else None
            token, found = await self.threads.run(_read, body, find, knows)
            if found is None:
                await self._tokens.check(token, len(body.text))
                _, found = await self.threads.run(_read, body, find, None)
                assert found is not None
            return found

    async def _receive_rest(self, receive: Receive, body: Body) -> None:
        deadline = time.monotonic() + self._body_seconds
        more = True
        while more:
            piece, more = await self._receive(receive)
            if time.monotonic() > deadline:
                raise Stalled(f"The body did not end within {self._body_seconds:g} s.")
            body.add(piece)
            # Not held on to while the next one is waited for, which a slow client may make long.
            del piece

    async def _receive(self, receive: Receive) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there is more."""
        try:
            message = await self._idle_timeouts.receive(receive)
        except TimeoutError:
            raise Stalled(f"Nothing arrived for {self._idle_timeouts.seconds:g} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        self._malloc_trim.passed += len(piece)
        return piece, message.get("more_body", False)

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


def _check_coding(scope: Scope) -> None:
    """Raises UnsupportedMediaType for a Content-Encoding, which says what would be taken (RFC 9110, section 15.5.16)."""
    coding = (asgi.header(scope, b"content-encoding") or "").strip()
    if any(member.lower() != "identity" for member in fields.members(coding)):
        detail = f"Content-Encoding is {coding[:100]!r}; allowed: identity"
        raise UnsupportedMediaType(detail, headers={"Accept-Encoding": "identity"})


def _read(body: Body, find: _Finder, knows: _Knows | None) -> tuple[bytes | None, _Data | None]:
    """The token in ``body`` and, if ``knows`` knows it or is not given, what ``find`` finds. Raises NotJson, Invalid.

    For a thread. Of the rest of the body, whose values may take thirty times the memory of the text, nothing is left.
    """
    members = payload.split(body.text)
    token = payload.read_token(members)
    return token, find(members) if knows is None or knows(token) else None
