"""Bodies that are being received or looked at, and what they may take of the memory, all together.

A body counts from its first byte until its request gives it up, whatever it waits for meanwhile: its end, the thread that
reads it, or the look-up of its token. Only its text is ever kept; what it means takes up to thirty times as much.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from service.http.errors import TooLarge, Unavailable

HELD_BYTES = 32 * 1024 * 1024
# Bodies up to this size still pass when larger ones have taken what they may.
SMALL_BYTES = 64 * 1024
LARGE_SHARE = 0.75


class Bodies:
    """Up to ``most_bytes`` each, and ``held_bytes`` together; larger ones than ``SMALL_BYTES`` three quarters of that."""

    def __init__(self, most_bytes: int, held_bytes: int = HELD_BYTES) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = held_bytes
        self.held = 0

    def begin(self) -> Body:
        return Body(self)


class Body:
    """The text of one body. A context manager: at its end nothing is left of it."""

    __slots__ = ("_bodies", "text")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        # Not a list: each of half a million small pieces would take more memory than what is in it.
        self.text = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bodies.held -= len(self.text)
        # The frames of an error would keep it for as long as the client takes for the answer.
        self.text = bytearray()

    def add(self, piece: bytes) -> None:
        """Raises TooLarge, or Unavailable if all bodies together are."""
        bodies, size = self._bodies, len(self.text) + len(piece)
        if size > bodies.most_bytes:
            raise TooLarge(f"The body has more than {bodies.most_bytes} bytes, which is all that is allowed.")
        most = bodies.held_bytes * (1.0 if size <= SMALL_BYTES else LARGE_SHARE)
        if bodies.held + len(piece) > most:
            raise Unavailable("Too many bodies are being received; try again.", retry_after_seconds=2)
        bodies.held += len(piece)
        self.text += piece
