"""The fake SQS, S3 and SSM (``bench/go/cmd/fakeaws``), on the client's core."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import client, processes, toolchain

SQS_MS = 5.0
S3_MS = 20.0
TOKEN = "a-token-for-the-benchmark"


class Cloud:
    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def environment(self) -> dict[str, str]:
        """What the SDKs and the services read to find it."""
        return {
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "INBOX_QUEUE_URL": f"{self.url}/000000000000/inbox",
            "EMAILS_BUCKET": "emails",
            "API_TOKEN_PARAMETER": "/bench/token",
            "API_TOKEN": TOKEN,
        }

    def counts(self) -> dict[str, Any]:
        """``calls`` by operation, ``messages`` sent, ``deleted``, and ``drain_seconds`` once a preload is all deleted."""
        found: dict[str, Any] = json.loads(client.ask(self.port, "GET", "/-/counts")[2])
        return found

    def reset(self) -> None:
        client.ask(self.port, "POST", "/-/reset")

    def preload(self, messages: int, size: int = 1024) -> None:
        """Puts ``messages`` of ``size`` bytes on the queue at once."""
        client.ask(self.port, "POST", f"/-/preload?n={messages}&bytes={size}")


@contextlib.contextmanager
def running(logs: Path) -> Iterator[Cloud]:
    port = processes.free_port()
    arguments: list[str | Path] = [
        toolchain.build("fakeaws"),
        *("-listen", f"127.0.0.1:{port}", "-sqs-ms", str(SQS_MS), "-s3-ms", str(S3_MS), "-token", TOKEN),
    ]
    with processes.running(arguments, log=logs / "fakeaws.log", cpu=processes.CLIENT_CPU) as process:
        processes.await_listening(process, port)
        yield Cloud(port)
