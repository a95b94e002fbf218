"""The worker's side of SQS and S3 over real HTTP, on the in-memory twins, with a clock that a test can turn."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from service.aws.queues import Failed, Message, Outgoing
from tests.service.memory import MemoryQueue
from tests.service.serving import serving


class TurnableClock:
    def __init__(self) -> None:
        self._turned = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._turned

    def turn(self, seconds: float) -> None:
        self._turned += seconds


@dataclass
class FakeAws:
    """``before`` is called with the name of each operation before it is carried out, and may wait, or raise ``Cut``."""

    visibility_seconds: int = 60
    most_receives: int | None = None
    wall_clock: Callable[[], float] = time.time
    before: Callable[[str], None] = lambda _: None
    clock: TurnableClock = field(default_factory=TurnableClock)
    objects: dict[str, bytes] = field(default_factory=dict)
    puts: Counter[int] = field(default_factory=Counter)
    """How many puts were answered with which status."""
    url: str = ""
    queue: MemoryQueue = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(
            visibility_seconds=self.visibility_seconds,
            most_receives=self.most_receives,
            clock=self.clock,
            wall_clock=self.wall_clock,
        )

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "INBOX_QUEUE_URL": f"{self.url}/123456789012/inbox",
            "EMAILS_BUCKET": "letters",
            "WORKER_WAIT_SECONDS": "1",
            "VISIBILITY_TIMEOUT_SECONDS": str(self.visibility_seconds),
        }

    def fill(self, count: int) -> set[str]:
        """Puts so many messages into the queue; returns their bodies."""
        bodies = {f'{{"n":{number}}}' for number in range(count)}
        for body in bodies:
            self.queue.send([Outgoing(body)])
        return bodies

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeAws]:
        aws = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                with self.cut_on_request():
                    aws.before(operation)
                    self.answer(200, json.dumps(aws._call(operation, request)).encode())

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["If-None-Match"] == "*"
                with self.cut_on_request():
                    aws.before("PutObject")
                    self.answer(*aws._put(self.path.removeprefix("/letters/"), body))

        with serving(Handler) as self.url:
            yield self

    def _put(self, key: str, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            created = self.objects.setdefault(key, body) is body
            status = 200 if created else 412
            self.puts[status] += 1
        return status, b"" if created else b"<Error><Code>PreconditionFailed</Code></Error>"

    def _call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if operation == "ReceiveMessage":
            until = time.monotonic() + request["WaitTimeSeconds"]
            while not (found := self.queue.receive(request["MaxNumberOfMessages"])) and time.monotonic() < until:
                time.sleep(0.005)
            return {"Messages": [_message(message) for message in found]}
        messages = [_reference(entry["ReceiptHandle"]) for entry in request["Entries"]]
        if operation == "DeleteMessageBatch":
            return _outcome(messages, self.queue.delete(messages))
        assert operation == "ChangeMessageVisibilityBatch", operation
        failed = []
        for entry, message in zip(request["Entries"], messages, strict=True):
            failed += self.queue.hide([message], entry["VisibilityTimeout"])
        return _outcome(messages, failed)


class Cut(Exception):
    """Ends the connection without an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @contextlib.contextmanager
    def cut_on_request(self) -> Iterator[None]:
        # Whoever asked may be dead or stopped by now.
        try:
            yield
        except (Cut, ConnectionError):
            self.close_connection = True

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", '"etag"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _message(message: Message) -> dict[str, Any]:
    return {
        "MessageId": message.message_id,
        # The handle says which message it is, as the handles of SQS do.
        "ReceiptHandle": f"{message.message_id} {message.receipt}",
        "Body": message.body,
        "MD5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "Attributes": {
            "SentTimestamp": str(message.sent_at_milliseconds),
            "ApproximateReceiveCount": str(message.receive_count),
        },
    }


def _reference(handle: str) -> Message:
    message_id, _, receipt = handle.partition(" ")
    return Message(message_id, receipt, "", 0, 0)


def _outcome(messages: list[Message], failed: list[Failed]) -> dict[str, Any]:
    faults = {failure.message: failure for failure in failed}
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    for index, message in enumerate(messages):
        entry: dict[str, Any] = {"Id": str(index)}
        if message in faults:
            entry |= {"Code": faults[message].code, "SenderFault": faults[message].sender_fault}
        answer["Failed" if message in faults else "Successful"].append(entry)
    return answer
