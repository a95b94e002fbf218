"""libcurl under botocore: what it has signed goes out, and what comes back is parsed, as ever; only HTTP itself changes.

Most of what a call costs is botocore's own: making the request, signing it, reading the answer. What Python's HTTP client
adds is enough that a SendMessageBatch of ten messages takes 1.3 times the processor time with it, and an /ingest request
1.2 times (medians of pairs in one run). libcurl also does its part without the interpreter's lock. It takes the place by
botocore's event for that: https://docs.aws.amazon.com/botocore/latest/topics/events.html#before-send
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import pycurl
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)

# libcurl sets these itself, for the body that it is given.
_OWN_HEADERS = frozenset({"content-length", "expect", "transfer-encoding"})
_UNREACHABLE = frozenset(
    {pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_URL_MALFORMAT}
)
_NOT_TRUSTED = frozenset({pycurl.E_SSL_CONNECT_ERROR, pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE})


class CurlTransport:
    """Sends requests, over a connection for each thread that is kept open. A handler of ``before-send``.

    The server must be who it says by ``AWS_CA_BUNDLE``, or by the certificates that botocore brings along.
    """

    def __init__(self, *, connect_timeout_seconds: float, read_timeout_seconds: float) -> None:
        """An answer may take ``read_timeout_seconds`` as a whole, from the moment that there is a connection."""
        self._connect_milliseconds = round(connect_timeout_seconds * 1000)
        self._total_milliseconds = round((connect_timeout_seconds + read_timeout_seconds) * 1000)
        self._certificates = os.environ.get("AWS_CA_BUNDLE") or str(Path(botocore.__file__).parent / "cacert.pem")
        self._thread = threading.local()

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Raises an HTTPClientError as botocore's own client does, for botocore to try again or to raise."""
        curl = self._curl()
        head, body = io.BytesIO(), io.BytesIO()
        headers = [
            f"{name}: {_text(value)}" for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS
        ]
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        curl.setopt(pycurl.POSTFIELDS, _bytes(request.body))
        # Without a value: no waiting for the server's word before a large body is sent.
        curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        curl.setopt(pycurl.WRITEHEADER, head)
        curl.setopt(pycurl.WRITEDATA, body)
        try:
            curl.perform()
        except pycurl.error as error:
            raise self._failure(curl, request, *error.args) from error
        status = int(curl.getinfo(pycurl.RESPONSE_CODE))
        return AWSResponse(request.url, status, _headers(head.getvalue()), _Raw(body.getvalue()))

    def _curl(self) -> pycurl.Curl:
        found: pycurl.Curl | None = getattr(self._thread, "curl", None)
        if found is not None:
            return found
        curl = self._thread.curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)  # signals and threads do not mix
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CAINFO, self._certificates)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, self._connect_milliseconds)
        curl.setopt(pycurl.TIMEOUT_MS, self._total_milliseconds)
        return curl

    def _failure(self, curl: pycurl.Curl, request: AWSPreparedRequest, code: int, reason: str) -> HTTPClientError:
        url = request.url
        if code == pycurl.E_OPERATION_TIMEDOUT:
            kind = ReadTimeoutError if curl.getinfo(pycurl.PRETRANSFER_TIME) else ConnectTimeoutError
            return kind(endpoint_url=url, error=reason)
        if code in _UNREACHABLE:
            return EndpointConnectionError(endpoint_url=url, error=reason)
        if code in _NOT_TRUSTED:
            return SSLError(endpoint_url=url, error=reason)
        return ConnectionClosedError(endpoint_url=url, error=reason)


class _Raw:
    """An answer's body, as AWSResponse asks for it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


def _headers(head: bytes) -> dict[str, str]:
    """The fields of the last head: before it there may be those of a proxy, or of a 100."""
    lines = head.decode("latin-1").strip().rpartition("\r\n\r\n")[2].split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(body: str | bytes | None) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""
