from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.aws.curl_transport import CurlTransport
from tests.service.harness import LIVENESS_SECONDS, free_port


class Server:
    """Answers as it is told to, and remembers what it was sent and over which connections."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.behaviour = "answer"
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.closing = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.connections.add(self.client_address)
                server.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if server.behaviour == "silence":
                    server.closing.wait(LIVENESS_SECONDS)
                if server.behaviour in ("silence", "close"):
                    self.close_connection = True
                    return
                self.send_response(201)
                self.send_header("X-Word", "  spaced: out ")
                self.send_header("Content-Length", "10")
                self.end_headers()
                self.wfile.write(b"01234" if server.behaviour == "cut" else b"0123456789")
                self.close_connection = server.behaviour == "cut"

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def wire(**seconds: float) -> CurlTransport:
    patient = {"connect_timeout_seconds": LIVENESS_SECONDS, "read_timeout_seconds": LIVENESS_SECONDS}
    return CurlTransport(**{**patient, **seconds})


def request(url: str, body: str | bytes | None = "body") -> AWSPreparedRequest:
    headers = HeadersDict({"Content-Length": "999", "X-Signed": b"bytes", "Content-Type": "application/x-amz-json-1.0"})
    return AWSPreparedRequest("POST", url, headers, body, False)


def test_a_request_goes_out_as_it_was_signed_and_the_answer_comes_back(server: Server) -> None:
    answer = wire()(request(server.url, "é"))
    assert (answer.status_code, answer.content, answer.headers["x-word"]) == (201, b"0123456789", "spaced: out")
    ((headers, body),) = server.requests
    assert body == "é".encode()
    assert (headers["x-signed"], headers["content-type"]) == ("bytes", "application/x-amz-json-1.0")
    assert headers["content-length"] == "2"
    assert "expect" not in headers


@pytest.mark.parametrize("body", [None, b"", b"x" * 2_000_000])
def test_a_body_may_be_nothing_or_large(server: Server, body: bytes | None) -> None:
    assert wire()(request(server.url, body)).status_code == 201
    assert server.requests[0][1] == (body or b"")


def test_each_thread_keeps_a_connection_of_its_own_open(server: Server) -> None:
    sender = wire()

    def send() -> None:
        for _ in range(5):
            sender(request(server.url))

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIVENESS_SECONDS)
    assert len(server.requests) == 15
    assert len(server.connections) == 3


def test_a_connection_that_was_closed_meanwhile_is_opened_again(server: Server) -> None:
    sender = wire()
    server.behaviour = "close"
    with pytest.raises(ConnectionClosedError):
        sender(request(server.url))
    server.behaviour = "answer"
    assert sender(request(server.url)).status_code == 201


def test_an_answer_that_is_cut_off_is_none(server: Server) -> None:
    server.behaviour = "cut"
    with pytest.raises(ConnectionClosedError):
        wire()(request(server.url))


def test_an_answer_that_does_not_come_is_a_timeout(server: Server) -> None:
    server.behaviour = "silence"
    with pytest.raises(ReadTimeoutError):
        wire(connect_timeout_seconds=1, read_timeout_seconds=0.1)(request(server.url))


def test_a_server_that_is_not_there_is_an_endpoint_that_can_not_be_reached() -> None:
    with pytest.raises(EndpointConnectionError):
        wire()(request(f"http://127.0.0.1:{free_port()}/"))


def test_a_server_that_does_not_take_the_connection_is_a_timeout_of_connecting() -> None:
    # An address for documentation (RFC 5737): what is sent there goes nowhere, or is refused on the way.
    with pytest.raises((ConnectTimeoutError, EndpointConnectionError)):
        wire(connect_timeout_seconds=0.5)(request("http://192.0.2.1:81/"))


def test_a_server_must_be_who_it_says(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secure = Server(certificate)
    try:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
        with pytest.raises(SSLError):
            wire()(request(secure.url))
        assert secure.requests == [], "nothing was sent to a stranger"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert wire()(request(secure.url)).status_code == 201
        with pytest.raises(SSLError):
            wire()(request(secure.url.replace("127.0.0.1", "localhost")))
    finally:
        secure.close()
