"""Heads and bodies as bytes, against httptools' own reading of them."""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.server.chunked import LINE_BYTES, OVERHEAD_BYTES, OVERHEAD_RATIO, TRAILER_BYTES, ChunkedBody
from service.server.parser import HEAD_BYTES, MOST_FIELDS, Head, RequestParser
from service.server.refused import Refused
from tests.service.server.direct import chunked, request


def _parse(data: bytes, size: int = 1 << 20) -> list[Any]:
    """Every event of ``data``, fed in pieces of ``size``, or the status of what was refused as the last."""
    parser = RequestParser()
    found: list[Any] = []
    try:
        for start in range(0, len(data), size):
            parser.feed(data[start : start + size])
            while (event := parser.next()) is not None:
                found.append(event)
    except Refused as refused:
        found.append(refused.status)
    return found


def _refusal(data: bytes) -> int:
    refusals = {_parse(data, size)[-1] for size in (1, 7, 1 << 20)}
    assert len(refusals) == 1, refusals
    found = refusals.pop()
    assert isinstance(found, int), found
    return found


def test_a_request_is_a_head_and_the_pieces_of_its_body_and_the_next_waits() -> None:
    data = request("POST", "/a?b=c", b"hello", X_Y=" z \t") + request()
    for size in (1, 5, 1 << 20):
        head, *pieces, following = _parse(data, size)
        assert isinstance(head, Head)
        assert (head.method, head.target, head.version, head.length) == ("POST", b"/a?b=c", "1.1", 5)
        assert head.headers == [(b"host", b"test"), (b"x-y", b"z"), (b"content-length", b"5")]
        assert b"".join(pieces) == b"hello"
        assert isinstance(following, Head) and following.length == 0


def test_nothing_is_read_of_what_follows_before_it_is_asked_for() -> None:
    parser = RequestParser()
    parser.feed(request() + b"\x00 no HTTP")
    assert isinstance(parser.next(), Head)
    assert (parser.data, parser.in_body, parser.in_head) == (b"\x00 no HTTP", False, False)
    with pytest.raises(Refused, match="not a request"):
        parser.next()


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Upgrade, Close", False),
        ("1.1", "keep-alive", True),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_a_connection_is_kept_alive_as_its_version_and_options_say(
    version: str, connection: str | None, keep_alive: bool
) -> None:
    """RFC 9112, section 9.3."""
    data = request(fields={"Connection": connection} if connection else {}).replace(
        b"HTTP/1.1", f"HTTP/{version}".encode()
    )
    (head,) = _parse(data)
    assert (head.version, head.keep_alive) == (version, keep_alive)


def test_100_continue_is_expected_by_http_1_1_alone() -> None:
    """RFC 9110, section 10.1.1."""
    data = request("POST", body=b"x", Expect="100-Continue")
    assert _parse(data)[0].expects_continue
    assert not _parse(data.replace(b"HTTP/1.1", b"HTTP/1.0"))[0].expects_continue
    assert not _parse(request("POST", body=b"x", Expect="else"))[0].expects_continue


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host: RFC 9112, section 3.2
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b/<>\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"SETUP / RTSP/1.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),  # RFC 9110, section 9.1
        (b"POST / HTTP/1.0\r\n\r\n", 411),  # RFC 1945, section 8.3
        (b"PUT / HTTP/1.0\r\n\r\n", 411),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),  # RFC 9112, section 6.1
        (request("POST", Transfer_Encoding="xchunked"), 501),
        (request("POST", Transfer_Encoding="gzip"), 501),
        (request("POST", Transfer_Encoding="gzip, chunked"), 501),
        (request("POST", Transfer_Encoding="identity"), 501),
        (request("POST", Transfer_Encoding="chunked;q=1"), 501),
        (request("POST", Transfer_Encoding="xchunked", Connection="upgrade", Upgrade="h2c"), 501),
        (request("POST", Transfer_Encoding="chunked\r\nTransfer-Encoding: chunked"), 400),
        (request("POST", Transfer_Encoding="chunked", Content_Length="5"), 400),
        (request("POST", Content_Length="5\r\nContent-Length: 5"), 400),
        (request("POST", Content_Length="5, 5"), 400),
        (request("POST", Content_Length="+5"), 400),
        (request("POST", Content_Length="9" * 30), 400),
        (request(X="a\r\n b"), 400),  # a folded line
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (request(X="x" * HEAD_BYTES), 431),
        (b"GET /" + b"x" * HEAD_BYTES, 431),
        (request(fields={f"X-{number}": "" for number in range(MOST_FIELDS)}), 431),
    ],
)
def test_what_can_not_be_served_is_refused_however_it_arrives(data: bytes, status: int) -> None:
    assert _refusal(data) == status


@pytest.mark.parametrize(
    "host", ["", "a", "a.b:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "[v1.a:b]", "a%20b", "~a_b"]
)
def test_a_host_is_a_name_or_an_address_and_a_port(host: str) -> None:
    (head,) = _parse(request(Host=host))
    assert head.headers[0] == (b"host", host.encode())


def test_http_1_0_needs_no_host_and_an_empty_body_no_length() -> None:
    (head,) = _parse(b"GET / HTTP/1.0\r\n\r\n")
    assert (head.version, head.length) == ("1.0", 0)
    (head,) = _parse(request("POST"))
    assert head.length == 0


def test_empty_lines_before_a_request_are_ignored() -> None:
    for size in (1, 3, 1000):
        assert len(_parse(b"\r\n\r\n\r\n" + request() + b"\r\n" + request(), size)) == 2


def test_as_many_fields_as_are_allowed_and_as_large_a_head_are_read() -> None:
    assert (
        len(_parse(request(fields={f"X-{number}": "y" for number in range(MOST_FIELDS - 1)}))[0].headers) == MOST_FIELDS
    )
    rest = HEAD_BYTES - len(request(X=""))
    assert len(_parse(request(X="x" * rest))) == 1
    assert _parse(request(X="x" * (rest + 1))) == [431]


def test_an_upgrade_is_no_matter_and_its_body_is_read() -> None:
    fields = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    for body, data in (
        (b"", request(fields=fields)),
        (b"hello", request("POST", body=b"hello", fields=fields)),
        (b"hello", request("POST", fields=fields, Transfer_Encoding="chunked") + chunked(b"hel", b"lo")),
    ):
        head, *pieces, following = _parse(data + request())
        assert (head.keep_alive, b"".join(pieces), type(following)) == (True, body, Head)


class _Witness:
    """What httptools' callbacks tell of a head."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.heads = 0

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.heads += 1
        self.version = self.parser.get_http_version()
        self.method = self.parser.get_method().decode()
        self.keep_alive = self.parser.should_keep_alive()

    def read(self, data: bytes) -> bool:
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            return False
        return True


_PIECES = st.sampled_from(
    b"GET|POST| |/|/a?b|*| HTTP/1.1| HTTP/1.0|\r\n|\n|\r|\r\n\r\n|\r\n |\t|\x80|\x00|: |Host: a|host:b|X: y|X:\ty |X:".split(
        b"|"
    )
    + b"Connection: close|Connection: keep-alive|Content-Length: 0|Content-Length: 5|Transfer-Encoding: chunked".split(
        b"|"
    )
)


@given(st.lists(_PIECES, min_size=2, max_size=8), st.integers(1, 50))
def test_a_head_is_read_as_httptools_reads_it_or_refused(lines: list[bytes], size: int) -> None:
    data = b"GET / HTTP/1.1\r\nHost: t\r\n" + b"".join(lines) + b"\r\n\r\n"
    found = _parse(data, size)
    if isinstance(found[0], Head):
        head, witness = found[0], _Witness()
        witness.read(data[: data.find(b"\r\n\r\n") + 4])
        assert witness.heads == 1
        assert (head.method, head.target, head.version) == (witness.method, witness.target, witness.version)
        assert head.headers == witness.headers
        assert head.keep_alive is witness.keep_alive


def _decode(data: bytes, size: int = 1 << 20) -> tuple[bytes, bytes, bool]:
    """The content, what follows, and whether the body has ended."""
    body, content, rest = ChunkedBody(), b"", b""
    for start in range(0, len(data), size):
        piece, rest = body.decode(rest + data[start : start + size])
        content += piece
        if body.ended:
            return content, rest + data[start + size :], True
    return content, rest, False


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.binary(max_size=20), st.integers(1, 30))
def test_chunks_are_what_was_cut_into_them(pieces: list[bytes], following: bytes, size: int) -> None:
    data = chunked(*pieces)
    assert _decode(data + following, size) == (b"".join(pieces), following, True)
    for cut in range(len(data)):
        assert not _decode(data[:cut], size)[2]


_CHUNK_PIECES = st.sampled_from(
    b'0|1|5|a|F|00|x|;|a=b|="q\\""|\r\n|\n|\r| |hello|T: v|-|+|0x1|5\r\nhello\r\n|0\r\n|\x00|\t|:'.split(b"|")
)


@given(st.lists(_CHUNK_PIECES, max_size=10), st.integers(1, 20))
def test_chunks_are_taken_only_if_httptools_takes_them_and_for_the_same(parts: list[bytes], size: int) -> None:
    """It is the stricter of the two, so that no proxy in front that reads as llhttp does sees another request in it."""
    data = b"".join(parts)
    try:
        content, rest, ended = _decode(data, size)
    except Refused:
        return
    if ended:
        witness = _Body()
        assert witness.read(data[: len(data) - len(rest)])
        assert (witness.content, witness.ended) == (content, 1)


class _Body:
    def __init__(self) -> None:
        self.content = b""
        self.ended = 0

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.ended += 1

    def read(self, data: bytes) -> bool:
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        except httptools.HttpParserError:
            return False
        return True


@pytest.mark.parametrize(
    "data",
    [
        b"xyz\r\n",
        b"-1\r\n",
        b"\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"fffffffffffffffff\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5;\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n',
        b"5;=\x00\r\nhello\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n: v\r\n\r\n",
        b"0\r\nT: \x00\r\n\r\n",
    ],
)
def test_chunks_that_make_no_sense_are_refused(data: bytes) -> None:
    for size in (1, 1000):
        with pytest.raises(Refused) as refused:
            _decode(data, size)
        assert refused.value.status == 400


@pytest.mark.parametrize("size", [1 << 18, 16 * 1024, 1000])
def test_honest_chunks_are_taken_however_small(size: int) -> None:
    """As Go's iotest.OneByteReader makes them, and as AWS signs them: 85 bytes for each ten."""
    for piece, extension, count in ((b"x", b"", 20_000), (b"x" * 10, b";chunk-signature=" + b"f" * 64, 10_000)):
        data = (b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)) * count + b"0\r\n\r\n"
        assert _decode(data, size) == (piece * count, b"", True)


def test_what_is_no_content_is_bounded() -> None:
    long_line = b"1;a=" + b"x" * LINE_BYTES
    many_extensions = (b"1;a=" + b"x" * 1000 + b"\r\nx\r\n") * (OVERHEAD_BYTES // 1000 + OVERHEAD_RATIO)
    many_trailers = b"0\r\n" + b"a: b\r\n" * (TRAILER_BYTES // 6 + 1)
    for data in (long_line, many_extensions, many_trailers):
        for size in (100, 1 << 20):
            with pytest.raises(Refused) as refused:
                _decode(data, size)
            assert refused.value.status == 431


def test_trailers_are_read_and_dropped() -> None:
    data = b"1\r\nx\r\n0\r\nAuthorization: Bearer x\r\nContent-Digest: y\r\n\r\n"
    assert _decode(data + b"GET") == (b"x", b"GET", True)
