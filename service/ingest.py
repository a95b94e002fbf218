"""``POST /ingest`` and ``POST /submit``: a client's data, checked and put on the queue."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from service import payload
from service.errors import BadRequest, Stalled, TooLarge, UnsupportedMediaType
from service.queues import BATCH_BYTES, Outgoing
from service.sender import Sender
from service.tokens import Tokens, bearer

# Room for the token, for blanks and for characters that take more bytes in the request than in the message.
BODY_BYTES = BATCH_BYTES + 64 * 1024
STALL_SECONDS = 30.0

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class IngestRoutes:
    def __init__(self, sender: Sender, tokens: Tokens, *, stall_seconds: float = STALL_SECONDS) -> None:
        self._sender = sender
        self._tokens = tokens
        self._stall_seconds = stall_seconds

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/ingest", self._ingest, methods=["POST"]),
            Route("/submit", self._submit, methods=["POST"]),
        ]

    async def _ingest(self, request: Request) -> Response:
        members = await self._members(request)
        data = payload.nested_data(members)
        timestamp = payload.check_timestamp(payload.split_text(data), "data.email_timestream")
        return await self._accept(request, data, payload.date_path(timestamp))

    async def _submit(self, request: Request) -> Response:
        members = await self._members(request)
        timestamp = payload.check_timestamp(members, "email_timestream")
        return await self._accept(request, payload.flat_data(members), payload.date_path(timestamp))

    async def _members(self, request: Request) -> dict[str, str]:
        """The body's members, from a client that may send them."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(f"Content-Type is {media_type or 'not set'!r}; allowed: application/json")
        header_token = bearer(request.headers.get("authorization"))
        if header_token is not None:
            await self._tokens.check(header_token)
        members = payload.split(await self._body(request))
        if header_token is None:
            await self._tokens.check(payload.read_token(members))
        return members

    async def _body(self, request: Request) -> bytes:
        declared = request.headers.get("content-length")
        if declared is not None and int(declared) > BODY_BYTES:
            raise TooLarge(f"The body has {declared} bytes; allowed: {BODY_BYTES}.")
        body = bytearray()
        more = True
        while more:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    message = await request.receive()
            except TimeoutError:
                raise Stalled(f"Nothing arrived for {self._stall_seconds:g} s.") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > BODY_BYTES:
                raise TooLarge(f"The body has more than {BODY_BYTES} bytes, which is all that is allowed.")
        return bytes(body)

    async def _accept(self, request: Request, data: str, date: str) -> Response:
        key = request.headers.get("idempotency-key")
        name = None
        if key is not None:
            if not _KEY.fullmatch(key):
                raise BadRequest(f"Idempotency-Key is {key[:300]!r}; allowed: 1 to 255 printable ASCII characters")
            name = payload.object_name(key, data, date)
        message = Outgoing(data, name)
        if message.size > BATCH_BYTES:
            raise TooLarge(f"The data makes a message of {message.size} bytes; the queue takes {BATCH_BYTES}.")
        message_id = await self._sender.send(message)
        return JSONResponse({"message": "Payload accepted and queued.", "message_id": message_id}, 202)
