"""A parameter store over real HTTP that can be made to hang."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.service.fake_sqs import FakeSqs
from tests.service.serving import serving


@dataclass
class FakeSsm:
    """One parameter, whatever name is asked for. Cleared, ``answers`` keeps every call waiting."""

    value: str
    url: str = ""
    reads: int = 0
    under_way: int = 0
    most_under_way: int = 0
    answers: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set by every call as it comes."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.answers.set()

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_SSM": self.url}

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeSsm]:
        ssm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["X-Amz-Target"] == "AmazonSSM.GetParameter"
                with ssm.counted():
                    ssm.answers.wait()
                parameter = {"Value": ssm.value, "Version": 1, "LastModifiedDate": 1_700_000_000.0}
                body = json.dumps({"Parameter": parameter}).encode()
                # Whoever asked may have given up.
                with contextlib.suppress(ConnectionError):
                    self.send_response(200)
                    self.send_header("Content-Type", "application/x-amz-json-1.1")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with serving(Handler) as self.url:
            try:
                yield self
            finally:
                self.answers.set()

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self.reads += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        self.asked.set()
        try:
            yield
        finally:
            with self._lock:
                self.under_way -= 1


def api_env(files: Path, sqs: FakeSqs, ssm: FakeSsm) -> dict[str, str]:
    """The environment of an API over the directory ``files`` and the two of AWS, which know no credentials."""
    return {
        "AWS_ENDPOINT_URL": sqs.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "FILES_DIR": str(files),
        "INBOX_QUEUE_URL": sqs.queue_url,
        "API_TOKEN_PARAMETER": "/token",
        **ssm.env,
    }
