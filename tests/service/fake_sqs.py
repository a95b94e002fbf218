"""An SQS over real HTTP that can be made to fail in every way that SQS, or the way to it, does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.service.serving import serving

# What befalls a call, before it is carried out or, for `lost` and `cut`, after it.
Fate = Literal["", "throttled", "internal", "timeout", "dropped", "lost", "cut"]


@dataclass
class FakeSqs:
    """One queue for sending. ``fate`` decides over each call, ``fails`` names the code with which an entry fails."""

    fate: Callable[[], Fate] = lambda: ""
    fails: Callable[[str], str] = lambda _: ""
    poison: str = "\x00"
    """A call with an entry that holds this is refused as a whole, with InvalidMessageContents."""
    silence_seconds: float = 3.0
    url: str = ""
    calls: int = 0
    stored: dict[str, str] = field(default_factory=dict)
    """Bodies by message id."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def queue_url(self) -> str:
        return f"{self.url}/123456789012/inbox"

    def bodies(self) -> list[str]:
        with self._lock:
            return list(self.stored.values())

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeSqs]:
        sqs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                assert operation == "SendMessageBatch", operation
                fate = sqs.fate()
                if fate == "timeout":
                    time.sleep(sqs.silence_seconds)
                if fate in ("timeout", "dropped"):
                    self.close_connection = True
                    return
                if fate == "throttled":
                    self._answer(400, _error("RequestThrottled"))
                    return
                if fate == "internal":
                    self._answer(500, _error("InternalFailure"))
                    return
                status, content = sqs.send(request["Entries"])
                if fate == "lost":
                    self.close_connection = True
                    return
                self._answer(status, content, cut=fate == "cut")

            def _answer(self, status: int, content: dict[str, Any], *, cut: bool = False) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection = cut

            def log_message(self, format: str, *args: object) -> None:
                pass

        with serving(Handler) as self.url:
            yield self

    def send(self, entries: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.calls += 1
            if any(self.poison in entry["MessageBody"] for entry in entries):
                return 400, _error("InvalidMessageContents")
            successful, failed = [], []
            for entry in entries:
                body = entry["MessageBody"]
                if code := self.fails(body):
                    fault = code == "InvalidParameterValue"
                    failed.append({"Id": entry["Id"], "Code": code, "Message": "no", "SenderFault": fault})
                    continue
                message_id = str(uuid.uuid4())
                self.stored[message_id] = body
                digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
                successful.append({"Id": entry["Id"], "MessageId": message_id, "MD5OfMessageBody": digest})
            # In an order of its own, as SQS may answer.
            return 200, {"Successful": successful[::-1], "Failed": failed}


def _error(code: str) -> dict[str, Any]:
    return {"__type": f"com.amazonaws.sqs#{code}", "message": "no"}
