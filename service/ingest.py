"""``POST /ingest`` and ``POST /submit``: a client's data, checked and put on the queue."""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from service import payload, plain
from service.errors import BadRequest, Stalled, TooLarge, UnsupportedMediaType
from service.payload import Members
from service.queues import BATCH_BYTES, Outgoing
from service.sender import Sender
from service.stalls import Stalls
from service.tokens import Tokens, bearer

# Room for the token, for blanks and for characters that take more bytes in the request than in the message.
BODY_BYTES = BATCH_BYTES + 64 * 1024
STALL_SECONDS = 30.0

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class IngestRoutes:
    def __init__(self, sender: Sender, tokens: Tokens, *, stall_seconds: float = STALL_SECONDS) -> None:
        self._sender = sender
        self._tokens = tokens
        self._stalls = Stalls(stall_seconds)

    def routes(self) -> list[BaseRoute]:
        return [
            plain.route("/ingest", {"POST": self._ingest}),
            plain.route("/submit", {"POST": self._submit}),
        ]

    async def _ingest(self, scope: Scope, receive: Receive, send: Send) -> None:
        members = await self._members(scope, receive)
        data, moment = payload.nested_data(members)
        await self._accept(scope, send, data, moment)

    async def _submit(self, scope: Scope, receive: Receive, send: Send) -> None:
        members = await self._members(scope, receive)
        data, moment = payload.flat_data(members)
        await self._accept(scope, send, data, moment)

    async def _members(self, scope: Scope, receive: Receive) -> Members:
        """The body's members, from a client that may send them."""
        media_type = (plain.header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(f"Content-Type is {media_type or 'not set'!r}; allowed: application/json")
        header_token = bearer(plain.header(scope, b"authorization"))
        if header_token is not None:
            await self._tokens.check(header_token)
        members = payload.split(await self._body(scope, receive))
        if header_token is None:
            await self._tokens.check(payload.read_token(members))
        return members

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        declared = plain.header(scope, b"content-length")
        if declared is not None and int(declared) > BODY_BYTES:
            raise TooLarge(f"The body has {declared} bytes; allowed: {BODY_BYTES}.")
        body = b""
        more = True
        pieces: list[bytes] = []
        size = 0
        while more:
            try:
                message = await self._stalls.receive(receive)
            except TimeoutError:
                raise Stalled(f"Nothing arrived for {self._stalls.seconds:g} s.") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(body)
            if size > BODY_BYTES:
                raise TooLarge(f"The body has more than {BODY_BYTES} bytes, which is all that is allowed.")
            pieces.append(body)
        return body if len(pieces) == 1 else b"".join(pieces)

    async def _accept(self, scope: Scope, send: Send, data: str, moment: datetime) -> None:
        key = plain.header(scope, b"idempotency-key")
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
        await plain.answer_json(send, HTTPStatus.ACCEPTED, content)
