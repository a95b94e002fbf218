"""The API's token, kept current without a restart.

The token is read once before the API starts, then in the background, and once more when an unknown token is presented:
whoever has just rotated it is not refused. That happens once a second at most; who presents an unknown token within that
second waits for the next time. Values before a rotation stay valid for a while, so that clients may change over in their
own time. While the parameter can't be read the last values hold.

One read is under way at a time, in threads that do nothing else. How long requests wait for it is bounded, and so is what
they hold meanwhile, all together: unknown tokens cost whoever presents them and nobody else.
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

from service.http.errors import Unauthorized, Unavailable
from service.thread_pool import ThreadPool

# What requests with unknown tokens may hold of their bodies, all together.
WAITING_BYTES = 16 * 1024 * 1024
# What the server has taken in of a body that nobody has asked for yet, at most and roughly: reading stops there.
UNREAD_BODY_BYTES = 64 * 1024

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
        threads: ThreadPool,
        *,
        refresh_seconds: float = 60.0,
        hurry_seconds: float = 1.0,
        overlap_seconds: float = 900.0,
        patience_seconds: float = 5.0,
        most_waiting: int = 1000,
        most_waiting_bytes: int = WAITING_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads every ``refresh_seconds``, and at most every ``hurry_seconds`` for unknown tokens; up to
        ``most_waiting`` requests that hold ``most_waiting_bytes`` wait for that, each for ``patience_seconds`` at most.
        A value before a rotation is valid for ``overlap_seconds`` more.

        ``threads`` make no calls but these: a parameter store that hangs must not take those that others wait for. Their
        bound is for a read that never returns, which would keep every later one from being made.
        """
        self._parameter = parameter
        self._threads = threads
        self._refresh_seconds = refresh_seconds
        self._hurry_seconds = hurry_seconds
        self._overlap_seconds = overlap_seconds
        self._patience_seconds = patience_seconds
        self._most_waiting = most_waiting
        self._most_waiting_bytes = most_waiting_bytes
        self._clock = clock
        self._current = b""
        # Until when each value before the current one is valid. Replaced and never changed: other threads read it.
        self._previous: dict[bytes, float] = {}
        self._hurried_at = float("-inf")
        self._next_refresh: asyncio.Task[None] | None = None
        # Held while the parameter is read, which began then.
        self._reading = asyncio.Lock()
        self._read_at = 0.0
        self._waiting = 0
        self._waiting_bytes = 0
        # Tokens that the last refresh has found to be none: there is no use in waiting for them again at once.
        self._refused: set[bytes] = set()

    def load(self) -> None:
        """Reads the token for the first time. Blocks. Raises what the parameter raises, ValueError if it is empty."""
        # A task that starts within the overlap of a rotation must take what the tasks beside it take.
        self._accept(*self._read())
        if not self._current:
            raise ValueError("the token is empty")

    def knows(self, presented: bytes | None) -> bool:
        """Whether ``presented`` is the token, or one before it within the overlap, as far as is known. For any thread."""
        return presented is not None and self._is_valid(_digest(presented))

    async def check(self, presented: bytes | None, held_bytes: int = 0) -> None:
        """Raises Unauthorized unless ``presented`` is the token, or one before it within the overlap.

        Raises Unavailable when it is unknown and can't be looked up now, or too many others wait to have theirs looked
        up. ``held_bytes`` is what the request keeps in memory while it waits.
        """
        if presented is None:
            raise Unauthorized("No token was given; send it as 'Authorization: Bearer <token>'.")
        digest = _digest(presented)
        if self._is_valid(digest):
            return
        if digest not in self._refused or self._clock() - self._hurried_at >= self._hurry_seconds:
            await self._wait_for_refresh(held_bytes)
            if self._is_valid(digest):
                return
            self._refused.add(digest)
        raise Unauthorized("The token is not valid.")

    def fault(self) -> str | None:
        """Why the token can't be read again, or None if it can."""
        return self._threads.fault() or self._threads.all_hang()

    async def keep_current(self) -> None:
        """Refreshes for ever; cancelled when the API stops."""
        while True:
            # Spread out, or all tasks of a deployment would ask in the same second.
            await asyncio.sleep(self._refresh_seconds * random.uniform(0.8, 1.2))
            async with self._reading:
                await self._refresh()

    def close(self) -> None:
        self._threads.close(wait=False)

    async def _wait_for_refresh(self, held_bytes: int) -> None:
        """Waits for a refresh that has not begun yet: one under way may have read the token before it was rotated."""
        if self._reading.locked() and self._clock() - self._read_at >= self._patience_seconds:
            raise self._unanswered()  # nor would it be if this request waited
        if self._waiting >= self._most_waiting or self._waiting_bytes + held_bytes > self._most_waiting_bytes:
            raise Unavailable("Too many unknown tokens are being looked up; try again.", retry_after_seconds=2)
        if self._next_refresh is None or self._next_refresh.done():
            self._next_refresh = asyncio.create_task(self._refresh_in_turn())
        self._waiting += 1
        self._waiting_bytes += held_bytes
        try:
            async with asyncio.timeout(self._patience_seconds):
                await asyncio.shield(self._next_refresh)
        except TimeoutError:
            raise self._unanswered() from None
        finally:
            self._waiting -= 1
            self._waiting_bytes -= held_bytes

    def _unanswered(self) -> Unavailable:
        detail = "The token is not known here, and could not be looked up just now; try again."
        return Unavailable(detail, retry_after_seconds=5)

    async def _refresh_in_turn(self) -> None:
        await asyncio.sleep(max(0.0, self._hurried_at + self._hurry_seconds - self._clock()))
        async with self._reading:
            self._next_refresh = None
            self._hurried_at = self._clock()
            self._refused.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        self._read_at = self._clock()
        try:
            value, before = await self._threads.run(self._read)
        except Exception as error:
            fields = {"reason": str(error)}
            _log.warning("the token could not be refreshed, the last one holds", extra={"fields": fields})
            return
        self._accept(value, before)

    def _read(self) -> tuple[str, tuple[str, float] | None]:
        """The value and, if it is a new one, the value before it: of two rotations in a row only one was seen. Blocks."""
        value = self._parameter.get()
        known = _digest(value.strip().encode()) == self._current
        return value, None if known else self._parameter.previous()

    def _accept(self, value: str, before: tuple[str, float] | None) -> None:
        # A value put from a file often ends in a newline, which no header can carry.
        value = value.strip()
        if not value:
            return  # an empty token would let everyone in
        digest = _digest(value.encode())
        if digest == self._current:
            return
        now = self._clock()
        previous = dict(self._previous)
        if self._current:
            previous[self._current] = now + self._overlap_seconds
            _log.info("the token has been rotated")
        if before is not None and before[0].strip() and before[1] < self._overlap_seconds:
            earlier = _digest(before[0].strip().encode())
            previous[earlier] = max(previous.get(earlier, 0.0), now + self._overlap_seconds - max(0.0, before[1]))
        # The old one first among those before, or a thread between the two lines would find it nowhere.
        self._previous = {known: until for known, until in previous.items() if until > now and known != digest}
        self._current = digest

    def _is_valid(self, digest: bytes) -> bool:
        # Digests, so that not even a length leaks, and every one compared whatever the first says.
        now = self._clock()
        valid = hmac.compare_digest(digest, self._current)
        for previous, until in self._previous.items():
            valid |= hmac.compare_digest(digest, previous) and now < until
        return valid


def bearer(authorization: str | None) -> bytes | None:
    """The token in an ``Authorization`` field, as the bytes that were sent, or None if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    # Fields are read as Latin-1, whatever they are; this undoes it.
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" and token.strip() else None


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
