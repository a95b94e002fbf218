"""The chunked transfer coding (RFC 9112, section 7.1), as strict as llhttp, whose parser does not tell where it stands:
blanks around ``;`` and ``=`` are refused, by which servers have been made to read other sizes than the proxy before them.

What extensions and trailers cost is bounded: a line, the trailers, and all that is not content, in proportion to what
is. Chunks of one byte cost five times themselves and ten bytes signed as AWS does it nine, and that is in order.
"""

from __future__ import annotations

import re

from service.server.refused import Refused

LINE_BYTES = 8 * 1024
TRAILER_BYTES = 16 * 1024
# So many bytes beside the content, and so many more for each of it.
OVERHEAD_BYTES = 64 * 1024
OVERHEAD_RATIO = 16

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# Of a size longer than 64 bits no proxy can be trusted to read the same number.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;%b(?:=(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED))
_TRAILER = re.compile(rb"%b:[\t \x21-\x7e\x80-\xff]*" % _TOKEN)


class ChunkedBody:
    """The decoder of one body."""

    __slots__ = ("_left", "_overhead", "_received", "_trailer_bytes", "ended")

    def __init__(self) -> None:
        self.ended = False
        # Of the present chunk: content to come; 0 before its end of line, -1 before the next size.
        self._left = -1
        self._received = 0
        self._overhead = 0
        # None before the last chunk.
        self._trailer_bytes: int | None = None

    @property
    def expected_bytes(self) -> int:
        return max(0, self._left)

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in ``data``, and what of ``data`` is not read yet. Raises Refused."""
        pieces: list[bytes] = []
        position = 0
        while not self.ended:
            if self._left > 0:
                piece = data[position : position + self._left]
                if not piece:
                    break
                pieces.append(piece)
                position += len(piece)
                self._received += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\r\n", position, position + LINE_BYTES)
            if end < 0:
                if len(data) - position >= LINE_BYTES:
                    raise Refused(431, f"A line between chunks is too long; allowed: {LINE_BYTES} bytes.")
                break
            self._read_line(data, position, end)
            position = end + 2
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), data[position:]

    def _read_line(self, data: bytes, start: int, end: int) -> None:
        length = end + 2 - start
        self._overhead += length
        if self._overhead > OVERHEAD_BYTES + OVERHEAD_RATIO * self._received:
            raise Refused(431, f"The chunks' extensions are too large; allowed: {OVERHEAD_RATIO} times the content.")
        if self._trailer_bytes is not None:
            self._trailer_bytes += length
            if self._trailer_bytes > TRAILER_BYTES:
                raise Refused(431, f"The trailers are too large; allowed: {TRAILER_BYTES} bytes.")
            if length == 2:
                self.ended = True
            elif _TRAILER.fullmatch(data, start, end) is None:
                raise Refused(400, "A trailer after the chunks can't be read.")
        elif self._left == 0:
            if length != 2:
                raise Refused(400, "A chunk is longer than its size says.")
            self._left = -1
        else:
            found = _SIZE.fullmatch(data, start, end)
            if found is None:
                raise Refused(400, "The size of a chunk can't be read.")
            self._left = int(found[1], 16)
            if not self._left:
                self._trailer_bytes = 0
