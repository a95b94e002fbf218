"""Bytes in, the events of a request out: a head, and the pieces of its body. Nothing here knows of a network.

``feed`` keeps bytes; ``next`` makes one event of them, so that no request is read while the one before is answered, and
what waits is bytes alone. httptools (llhttp) says whether a head is one. It is given a head to its very end and never a
body: it tells no place in what it reads, has trailers come as header fields, and drops the body of an ``Upgrade``. What
it has found in order needs no more than to be split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httptools

from service.server.chunked import ChunkedBody
from service.server.refused import Refused

# The load balancer's own limit of a request's head, and Apache's of its fields: each costs twice its size in memory.
HEAD_BYTES = 64 * 1024
MOST_FIELDS = 100

Headers = list[tuple[bytes, bytes]]

_END = b"\r\n\r\n"
_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r\n]*)\r\n", re.IGNORECASE)
_OF_THE_MESSAGE = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"expect")
)
# RFC 9112, section 3.2, and RFC 3986, section 3.2.2. Empty where the target has no authority.
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-fvV:.~!$&'()*+,;=_\-]+\])(?::[0-9]*)?"
)


@dataclass(slots=True)
class Head:
    method: str
    target: bytes
    version: str
    """``1.0`` or ``1.1``."""
    headers: Headers
    """Names in lower case."""
    length: int | None
    """Of the body in bytes; None where its chunks tell."""
    keep_alive: bool
    expects_continue: bool


class RequestParser:
    """For one connection."""

    def __init__(self) -> None:
        self.data = b""
        """What was fed and no event was made of."""
        self.left = 0
        """How many bytes of the body are still to come, if a Content-Length tells."""
        self.in_body = False
        """Whether the body of the last head goes on."""
        self._chunks: ChunkedBody | None = None
        self._validator: httptools.HttpRequestParser | None = None
        # The part of a head that has arrived.
        self._begun = b""

    @property
    def waiting_bytes(self) -> int:
        """What was fed and is kept: a part of a head, or what has come too early."""
        return len(self.data) + len(self._begun)

    @property
    def expected_bytes(self) -> int:
        """How much of the body is known to come, up to the end of a chunk."""
        return self._chunks.expected_bytes if self._chunks is not None else self.left

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has been read."""
        return bool(self._begun)

    def feed(self, data: bytes) -> None:
        self.data = self.data + data if self.data else data

    def next(self) -> Head | bytes | None:
        """A head, then the content of its body, in pieces as it arrived, while ``in_body``; None if more bytes are needed.

        Raises Refused; nothing can be read afterwards.
        """
        data = self.data
        if not data:
            return None
        if not self.in_body:
            return self._next_head(data)
        if self._chunks is None:
            piece, self.data = data[: self.left], data[self.left :]
            self.left -= len(piece)
            self.in_body = self.left > 0
            return piece
        piece, self.data = self._chunks.decode(data)
        if self._chunks.ended:
            self._chunks = None
            self.in_body = False
        return piece if piece or not self.in_body else None

    def skip_body(self) -> None:
        """Says that the rest of the body was read elsewhere."""
        self.left = 0
        self.in_body = False

    def _next_head(self, data: bytes) -> Head | None:
        begun = self._begun
        if not begun:
            data = data.lstrip(b"\r\n")  # RFC 9112, section 2.2
        tail = begun[-3:]
        end = (tail + data).find(_END)
        size = len(data) if end < 0 else end + len(_END) - len(tail)
        if len(begun) + size > HEAD_BYTES:
            raise Refused(431, f"The request's head is too large; allowed: {HEAD_BYTES} bytes.")
        piece, self.data = data[:size], data[size:]
        head = self._begun = begun + piece
        validator = self._validator or httptools.HttpRequestParser(None)
        try:
            validator.feed_data(piece)
            self._validator = validator
        except httptools.HttpParserUpgrade:
            self._validator = None  # not made (RFC 9110, section 7.8), but this one waits for another protocol
        except httptools.HttpParserError:
            coding = _CODING.search(head)
            if coding is not None:
                _check_coding(coding[1])
            raise Refused(400, "This is not a request of HTTP/1.1 that can be read.") from None
        if end < 0:
            return None
        self._begun = b""
        return self._read_head(head)

    def _read_head(self, head: bytes) -> Head:
        """What a head says that was found to be one."""
        lines = head[: -len(_END)].split(b"\r\n")
        method, target, version = _read_request_line(lines[0])
        if len(lines) > MOST_FIELDS + 1:
            raise Refused(431, f"The request has {len(lines) - 1} header fields; allowed: {MOST_FIELDS}.")
        is_old = version == "1.0"
        expects_continue = False
        options: list[bytes] = []
        host = length = coding = None
        headers: Headers = []
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip(b" \t")
            headers.append((name, value))
            if name not in _OF_THE_MESSAGE:
                continue
            if name == b"host":
                if host is not None:
                    raise Refused(400, "Host comes twice.")
                host = value
            elif name == b"content-length":
                if len(value) > 19:
                    raise Refused(400, "Content-Length has more than 19 digits.")
                length = int(value)
            elif name == b"transfer-encoding":
                coding = value if coding is None else b"%b, %b" % (coding, value)
            elif name == b"connection" or name == b"proxy-connection":
                options += [option.strip(b" \t") for option in value.lower().split(b",")]
            elif value.lower() == b"100-continue":
                expects_continue = not is_old
        if host is None:
            if not is_old:
                raise Refused(400, "Host is missing.")
        elif _HOST.fullmatch(host) is None:
            raise Refused(400, "Host can't be read; send a name or an address, and a port if need be.")
        if coding is not None:
            if is_old:
                # RFC 9112, section 6.1: who has passed it on does not know of chunks.
                raise Refused(400, "HTTP/1.0 has no Transfer-Encoding.")
            _check_coding(coding)
            self._chunks = ChunkedBody()
        elif length is None:
            if is_old and method in ("POST", "PUT", "PATCH"):
                # RFC 1945, section 8.3: else its body would end with the connection.
                raise Refused(411, "A body of HTTP/1.0 needs a Content-Length.")
            length = 0
        keep_alive = b"close" not in options and (not is_old or b"keep-alive" in options)
        self.left = length or 0
        self.in_body = length != 0
        if self.in_body or options:
            self._validator = None  # it waits for a body, or for nothing more
        return Head(method, target, version, headers, length, keep_alive, expects_continue)


def _read_request_line(line: bytes) -> tuple[str, bytes, str]:
    """Method, target and version. Raises Refused."""
    parts = line.split()
    if len(parts) != 3:
        raise Refused(400, "The request line has no version; send HTTP/1.1.")
    method, target, protocol = parts
    version = _VERSIONS.get(protocol)
    if version is None:
        raise Refused(505, f"The version is {protocol.decode('latin-1')!r}; allowed: HTTP/1.1.")
    if method == b"CONNECT":
        raise Refused(501, "CONNECT is not possible here.")
    return str(method, "ascii"), target, version


def _check_coding(coding: bytes) -> None:
    if coding.lower() != b"chunked":
        raise Refused(501, f"Transfer-Encoding is {coding.decode('latin-1')!r}; allowed: chunked")
