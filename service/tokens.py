"""The API's token, kept current without a restart.

The token is read once before the API starts, then in the background, and once more, at most every few seconds, when an
unknown token is presented: whoever has just rotated it does not wait. The value before a rotation stays valid for a
while, so that clients may change over in their own time. While the parameter can't be read the last values hold.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from service.errors import Unauthorized
from service.threads import Threads

_log = logging.getLogger("service.tokens")


class Parameter(Protocol):
    """One secret value kept elsewhere."""

    def get(self) -> str:
        """The value now. Blocks. Raises any Exception if it can't be read."""
        ...

    def previous(self) -> tuple[str, float] | None:
        """The value before the one that ``get`` has last returned, and how many seconds ago it was replaced.

        Blocks. None when there was none, or it can't be told any more.
        """
        ...


class SsmParameter:
    """A parameter in SSM's parameter store, decrypted."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self._version = 0
        self._modified = datetime.min.replace(tzinfo=UTC)

    def get(self) -> str:
        parameter = self._client.get_parameter(Name=self._name, WithDecryption=True)["Parameter"]
        self._version, self._modified = int(parameter["Version"]), parameter["LastModifiedDate"]
        return str(parameter["Value"])

    def previous(self) -> tuple[str, float] | None:
        if self._version < 2:
            return None
        try:
            # A version is no resource of its own: the permission to read the parameter covers it.
            name = f"{self._name}:{self._version - 1}"
            value = self._client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except Exception as error:
            _log.warning("the token before this one can't be read", extra={"fields": {"reason": str(error)}})
            return None
        return str(value), (datetime.now(UTC) - self._modified).total_seconds()


class Tokens:
    """Says whether a presented token is valid."""

    def __init__(
        self,
        parameter: Parameter,
        threads: Threads,
        *,
        refresh_seconds: float = 60.0,
        hurry_seconds: float = 5.0,
        overlap_seconds: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameter = parameter
        self._threads = threads
        self._refresh_seconds = refresh_seconds
        self._hurry_seconds = hurry_seconds
        self._overlap_seconds = overlap_seconds
        self._clock = clock
        self._current = b""
        self._previous = b""
        self._previous_until = 0.0
        self._hurried_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    def load(self) -> None:
        """Reads the token for the first time. Blocks. Raises what the parameter raises, ValueError if it is empty."""
        self._accept(self._parameter.get())
        if not self._current:
            raise ValueError("the token is empty")
        # A task that starts within the overlap of a rotation must take what the tasks beside it take.
        before = self._parameter.previous()
        if before is not None and before[0].strip() and before[1] < self._overlap_seconds:
            self._previous = _digest(before[0].strip().encode())
            self._previous_until = self._clock() + self._overlap_seconds - before[1]

    async def check(self, presented: bytes | None) -> None:
        """Raises Unauthorized unless ``presented`` is the token, or the one before it within the overlap."""
        if presented is None:
            raise Unauthorized("No token was given; send it as 'Authorization: Bearer <token>'.")
        digest = _digest(presented)
        if self._is_valid(digest):
            return
        if self._clock() - self._hurried_at >= self._hurry_seconds or self._refreshing is not None:
            await self._refresh_together()
            if self._is_valid(digest):
                return
        raise Unauthorized("The token is not valid.")

    async def keep_current(self) -> None:
        """Refreshes for ever; cancelled when the API stops."""
        while True:
            # Spread out, or all tasks of a deployment would ask in the same second.
            await asyncio.sleep(self._refresh_seconds * random.uniform(0.8, 1.2))
            await self._refresh()

    async def _refresh_together(self) -> None:
        if self._refreshing is None:
            self._hurried_at = self._clock()
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, _: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def _refresh(self) -> None:
        try:
            value = await self._threads.run(self._parameter.get)
        except Exception as error:
            fields = {"reason": str(error)}
            _log.warning("the token could not be refreshed, the last one holds", extra={"fields": fields})
            return
        self._accept(value)

    def _accept(self, value: str) -> None:
        # A value put from a file often ends in a newline, which no header can carry.
        value = value.strip()
        if not value:
            return  # an empty token would let everyone in
        digest = _digest(value.encode())
        if digest == self._current:
            return
        if self._current:
            self._previous = self._current
            self._previous_until = self._clock() + self._overlap_seconds
            _log.info("the token has been rotated")
        self._current = digest

    def _is_valid(self, digest: bytes) -> bool:
        # Digests, so that not even a length leaks, and every one compared whatever the first says.
        current = hmac.compare_digest(digest, self._current)
        previous = hmac.compare_digest(digest, self._previous) and self._clock() < self._previous_until
        return current or previous


def bearer(authorization: str | None) -> bytes | None:
    """The token in an ``Authorization`` field, as the bytes that were sent, or None if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    # Fields are read as Latin-1, whatever they are; this undoes it.
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" and token.strip() else None


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
