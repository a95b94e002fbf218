from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.aws.bucket import Bucket, S3Bucket, StoreFailed
from service.aws.clients import Clients
from tests.service.conftest import Aws
from tests.service.harness import LIVENESS_SECONDS, free_port
from tests.service.memory import MemoryBucket

KEY = "emails/2025/06/09/0fe3f4a2-0000-4000-8000-000000000001.json"


class S3:
    """An S3 that answers as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.go_on = threading.Event()
        self.go_on.set()
        self.cut = False
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        s3 = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                s3.requests.append((self.path, headers, body))
                s3.go_on.wait(LIVENESS_SECONDS)
                if s3.cut:
                    self.close_connection = True
                    return
                self.send_response(s3.status)
                self.send_header("ETag", '"etag"')
                self.send_header("Content-Length", str(len(s3.body)))
                self.end_headers()
                self.wfile.write(s3.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def refuse(self, status: int, code: str) -> None:
        self.status = status
        self.body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@pytest.fixture
def s3() -> Iterator[S3]:
    made = S3()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    use(monkeypatch, AWS_ENDPOINT_URL=s3.url, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    return S3Bucket(Clients("eu-west-1"), "letters", timeout_seconds=LIVENESS_SECONDS, pause_seconds=0.001)


def use(monkeypatch: pytest.MonkeyPatch, **env: str) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["memory", "s3"])
def either(request: pytest.FixtureRequest, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    if request.param == "memory":
        return MemoryBucket()
    use(monkeypatch, **aws.env)
    aws.client("s3").create_bucket(Bucket="letters")
    return S3Bucket(Clients("us-east-1"), "letters")


def test_an_object_is_created_once_and_never_replaced(either: Bucket) -> None:
    key = f"emails/{time.time_ns()}.json"
    assert either.put(key, b"first") is True
    assert either.put(key, b"second") is False


def test_what_is_stored_has_its_bytes_and_its_type(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, **aws.env)
    client = aws.client("s3")
    client.create_bucket(Bucket="letters")
    content = '{"é":"😀"}'.encode() + b" " * 1_000_000
    S3Bucket(Clients("us-east-1"), "letters").put("a b/é.json", content)
    stored = client.get_object(Bucket="letters", Key="a b/é.json")
    assert stored["Body"].read() == content
    assert stored["ContentType"] == "application/json"


def test_a_put_is_one_signed_request_that_replaces_nothing(s3: S3, bucket: S3Bucket) -> None:
    assert bucket.put(KEY, b'{"a":1}')
    ((path, headers, body),) = s3.requests
    assert path == f"/letters/{KEY}"
    assert body == b'{"a":1}'
    assert headers["if-none-match"] == "*"
    assert headers["content-type"] == "application/json"
    assert headers["x-amz-security-token"] == "token"
    assert "Credential=key/" in headers["authorization"] and "/eu-west-1/s3/" in headers["authorization"]


def test_only_412_says_that_the_object_is_there(s3: S3, bucket: S3Bucket) -> None:
    s3.refuse(412, "PreconditionFailed")
    assert bucket.put(KEY, b"{}") is False
    s3.refuse(409, "ConditionalRequestConflict")
    with pytest.raises(StoreFailed, match=r"^ConditionalRequestConflict$"):
        bucket.put(KEY, b"{}")


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (503, "SlowDown", 3),
        (500, "InternalError", 3),
        (403, "AccessDenied", 1),
        (400, "RequestTimeout", 1),
        (404, "NoSuchBucket", 1),
    ],
)
def test_a_refusal_is_named_by_its_code(s3: S3, bucket: S3Bucket, status: int, code: str, tries: int) -> None:
    s3.refuse(status, code)
    with pytest.raises(StoreFailed, match=f"^{code}$"):
        bucket.put(KEY, b"{}")
    assert len(s3.requests) == tries


def test_a_refusal_without_a_code_is_named_by_its_status(s3: S3, bucket: S3Bucket) -> None:
    s3.status = 429
    with pytest.raises(StoreFailed, match=r"^status 429$"):
        bucket.put(KEY, b"{}")


@pytest.mark.usefixtures("bucket")
def test_a_call_is_bounded_in_time(s3: S3) -> None:
    s3.go_on.clear()
    with pytest.raises(StoreFailed):
        S3Bucket(Clients("eu-west-1"), "letters", timeout_seconds=0.5).put(KEY, b"{}")
    s3.go_on.set()


def test_a_connection_that_is_cut_is_a_failure_of_this_time(s3: S3, bucket: S3Bucket) -> None:
    s3.cut = True
    with pytest.raises(StoreFailed, match="error sending request"):
        bucket.put(KEY, b"{}")


def test_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}", AWS_ACCESS_KEY_ID="key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(StoreFailed) as caught:
        S3Bucket(Clients("eu-west-1"), "letters", attempts=1).put(KEY, b"{}")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("region", "name", "expected"),
    [
        ("eu-west-1", "letters", ("https://letters.s3.eu-west-1.amazonaws.com", "true")),
        ("cn-north-1", "letters", ("https://letters.s3.cn-north-1.amazonaws.com.cn", "true")),
        # Dots in the name would not match the certificate.
        ("eu-west-1", "my.letters", ("https://s3.eu-west-1.amazonaws.com", "false")),
    ],
)
def test_on_aws_the_bucket_is_called_by_its_own_host_name(
    monkeypatch: pytest.MonkeyPatch, region: str, name: str, expected: tuple[str, str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    use(monkeypatch, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
    config: dict[str, Any] = dict(S3Bucket(Clients(region), name).store.config)
    assert (config["endpoint"], config["virtual_hosted_style_request"]) == expected


class Credentials:
    """The endpoint that gives a task its credentials."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        credentials = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                credentials.asked.append(self.headers["Authorization"])
                number = len(credentials.asked)
                # Within the time in which botocore asks for new ones, so that each is used for as short as can be.
                expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30))
                content = (
                    f'{{"AccessKeyId":"key{number}","SecretAccessKey":"s","Token":"t","Expiration":"{expiration}"}}'
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/role"


def test_credentials_come_from_the_tasks_own_endpoint_and_are_renewed(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials()
    thread = threading.Thread(target=credentials.server.serve_forever, args=(0.01,))
    thread.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    use(monkeypatch, AWS_ENDPOINT_URL=s3.url, AWS_SHARED_CREDENTIALS_FILE="/dev/null", AWS_CONFIG_FILE="/dev/null")
    use(monkeypatch, AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials.url, AWS_CONTAINER_AUTHORIZATION_TOKEN="ours")
    try:
        bucket = S3Bucket(Clients("eu-west-1"), "letters", credentials_last_seconds=1)
        for _ in range(2):
            assert bucket.put(KEY, b"{}")
            time.sleep(0.3)  # obstore asks no more often than ten times a second
    finally:
        credentials.server.shutdown()
        credentials.server.server_close()
        thread.join()
    assert set(credentials.asked) == {"ours"}
    keys = [headers["authorization"].partition("Credential=")[2].partition("/")[0] for _, headers, _ in s3.requests]
    assert len(set(keys)) == 2, "the second put was signed with newer credentials"
