"""What the tests of the service share: the API with twins in place of AWS, and real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from starlette.testclient import TestClient

from service.api.app import create_app
from service.files.store import FileStore
from service.http.health import StorageProbe
from service.http.lifecycle import Lifecycle
from service.http.openapi import describe
from service.http.tokens import Tokens
from service.settings import ApiSettings
from service.telemetry.logs import Lines
from service.telemetry.metrics import Metrics
from service.thread_pool import ThreadPool
from tests.service.described import Described
from tests.service.memory import MemoryParameter, MemoryQueue
from tests.service.seen import check_emf, check_secrets

ROOT = Path(__file__).parents[2]
TOKEN = "s3cret-tökén"
PROBLEM = "application/problem+json"
# The bound of every wait for what must come: never waited out by a test that passes, however slow the machine.
LIVENESS_SECONDS = 90.0


@dataclass
class Api:
    """The API in this process."""

    client: TestClient
    store: FileStore
    queue: MemoryQueue
    parameter: MemoryParameter
    lifecycle: Lifecycle
    metrics: Metrics

    @property
    def authorization(self) -> dict[bytes, bytes]:
        return {b"Authorization": f"Bearer {TOKEN}".encode()}

    def parts(self) -> list[Path]:
        """Parts of uploads on disk, if there are still any when the threads have had time to remove them."""
        wait_until(lambda: not list(self.store.root.glob("incoming/*/*.part")), must=False)
        return list(self.store.root.glob("incoming/*/*.part"))


def settings(root: Path, **changes: Any) -> ApiSettings:
    values: dict[str, Any] = {
        "region": "us-east-1",
        "files_dir": root,
        "files_auth": "none",
        "inbox_queue_url": "memory:",
        "api_token_parameter": "memory",
        **changes,
    }
    return ApiSettings(**values)


@contextlib.contextmanager
def running_api(
    root: Path,
    *,
    store: FileStore | None = None,
    probe: StorageProbe | None = None,
    hurry_seconds: float = 1.0,
    lines: Lines | None = None,
    metrics: Metrics | None = None,
    **changes: Any,
) -> Iterator[Api]:
    store = store or FileStore(root)
    store.prepare()
    metrics = metrics or Metrics("api")
    queue, parameter, lifecycle = MemoryQueue(), MemoryParameter(TOKEN), Lifecycle()
    threads = ThreadPool("aws", 5)
    tokens = Tokens(parameter, threads, hurry_seconds=hurry_seconds)
    tokens.load()
    app = create_app(
        settings(root, **changes),
        store=store,
        outbox=queue,
        tokens=tokens,
        aws_threads=threads,
        lifecycle=lifecycle,
        probe=probe,
        lines=lines,
        metrics=metrics,
    )
    described = Described(describe(settings(root, **changes)))

    def check(answer: Any) -> None:
        request = answer.request
        described.check(request.method, request.url.path, answer.status_code, answer.headers.items())

    with TestClient(app, raise_server_exceptions=False) as client:
        client.event_hooks = {"response": [check]}
        yield Api(client, store, queue, parameter, lifecycle, metrics)


@dataclass
class Process:
    """A command of the service as a process of its own."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path
    _files: list[IO[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.popen.send_signal(how)
        return self.popen.wait(LIVENESS_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """The log lines, without those that are metrics."""
        # The last one may just be being written.
        whole = [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        found = [json.loads(line) for line in whole]
        return [line for line in found if "_aws" not in line]

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("message") == "request"]


@contextlib.contextmanager
def started(
    command: str, env: dict[str, str], log: Path, *, ready: str = "/health/live", measure: bool = True
) -> Iterator[Process]:
    """Runs ``python -m service <command>`` and waits until ``ready`` answers 200.

    Coverage costs a process a third of its start, for nothing if it is killed, when what was measured is lost: tests that
    end it so, as leaving this context does, say ``measure=False``.
    """
    with _reserved_port() as port:
        env = (
            {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(port)}
            | (measured() if measure else {})
            | env
        )
        with log.open("wb") as output:
            popen = subprocess.Popen([sys.executable, "-m", "service", command], env=env, stdout=output, stderr=output)
        process = Process(popen, port, log)
        try:
            wait_until(lambda: popen.poll() is not None or status(process.url + ready) == 200)
            assert popen.poll() is None, log.read_text()
            yield process
        finally:
            popen.kill()
            popen.wait()
            _check(log.read_text(errors="replace"))


@contextlib.contextmanager
def _reserved_port() -> Iterator[int]:
    """A port that nobody but a server with SO_REUSEADDR gets, which uvicorn and http.server set (socket(7)).

    A port that was merely free a moment ago may be that of another connection when the process comes to listen on it.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def _check(text: str) -> None:
    """What a process has written, however it ended: nothing confided, and no metric that CloudWatch can't read."""
    check_secrets(text, TOKEN)
    for line in text.splitlines(keepends=True):
        # The last line of a process that was killed may be cut short.
        if line.startswith('{"_aws"') and line.endswith("\n"):
            check_emf(json.loads(line))


def measured() -> dict[str, str]:
    """The environment in which a process is measured as well, if this one is."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status(url: str) -> int:
    """The status that ``url`` answers, 0 if nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def wait_until(condition: Callable[[], bool], *, seconds: float = LIVENESS_SECONDS, must: bool = True) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            assert not must, f"not so after {seconds} s"
            return
        time.sleep(0.01)
