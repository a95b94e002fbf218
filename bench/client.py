"""Runs ``bench/go/cmd/load`` on the client's core, and asks servers a thing or two in between."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import toolchain
from bench.figures import Metrics
from bench.processes import CLIENT_CPU, Process


class LoadFailed(Exception):
    """A run that counts for nothing: an answer was not the one expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to ask a server for, over and over."""

    method: str = "GET"
    path: str = "/"
    paths: Path | None = None
    headers: Sequence[str] = ()
    body: Path | None = None
    body_bytes: int = 0
    connections: int = 1
    seconds: float = 0.0
    count: int = 0
    warmup: float = 0.3
    warm_count: int = 0
    gap_ms: float = 0.0
    drop: bool = False
    expect: int = 200
    expect_bytes: int = -1

    def arguments(self, port: int) -> list[str | Path]:
        found: list[str | Path] = [
            *("-address", f"127.0.0.1:{port}", "-method", self.method, "-path", self.path),
            *("-connections", str(self.connections), "-seconds", str(self.seconds), "-count", str(self.count)),
            *("-warmup", str(0 if self.count else self.warmup), "-warm-count", str(self.warm_count)),
            *("-expect", str(self.expect), "-expect-bytes", str(self.expect_bytes)),
            *("-body-bytes", str(self.body_bytes), "-gap-ms", str(self.gap_ms)),
        ]
        for header in self.headers:
            found += ["-header", header]
        if self.drop:
            found.append("-drop")
        if self.paths is not None:
            found += ["-paths", self.paths]
        if self.body is not None:
            found += ["-body", self.body]
        return found


def run(load: Load, process: Process, port: int, begin: Any = None) -> Metrics:
    """Measures one load: rate (requests a second), p50_ms, p99_ms, cpu_us (a request, of the server), requests.

    ``begin`` is called when the warm-up is over. Raises LoadFailed if any answer was not the one expected.
    """
    arguments = [*_program(), *load.arguments(port)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as popen:
        assert popen.stdout and popen.stderr
        popen.stdout.readline()
        if begin is not None:
            begin()
        before = process.cpu_seconds()
        last = popen.stdout.readline()
        cpu = process.cpu_seconds() - before
        complaint = popen.stderr.read()
    if not last:
        raise LoadFailed(complaint.strip().removeprefix("load: ") or "the client ended early")
    found = json.loads(last)
    if found["errors"]:
        raise LoadFailed(f"{found['errors']} errors, the first: {found['first_error']}")
    if not found["requests"]:
        raise LoadFailed("no request was answered in time")
    return {
        "rate": found["per_second"],
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "mean_ms": found["mean_ms"],
        "cpu_us": cpu / found["requests"] * 1e6,
        "requests": found["requests"],
        "client_share": found["client_cpu_seconds"] / found["seconds"],
    }


@contextlib.contextmanager
def slow_clients(port: int, count: int, *, sent: int, of: int, path: str, method: str = "POST") -> Iterator[None]:
    """Holds ``count`` connections that have each sent ``sent`` of ``of`` bytes of a body. Raises LoadFailed."""
    arguments: list[str | Path] = [
        *_program(),
        *Load(method=method, path=path, body_bytes=of, headers=["Content-Type: text/plain"]).arguments(port),
        *("-slow", str(count), "-slow-bytes", str(sent), "-trickle-seconds", "2"),
    ]
    popen = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert popen.stdin and popen.stdout and popen.stderr
        if not popen.stdout.readline():
            raise LoadFailed(popen.stderr.read().strip())
        yield
        popen.stdin.close()
        end = json.loads(popen.stdout.readline())
        if end["answered"]:
            raise LoadFailed(
                f"{end['answered']} of {count} slow clients were answered before they had sent their bodies"
            )
    finally:
        popen.kill()
        popen.wait()
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _program() -> list[str | Path]:
    return ["taskset", "--cpu-list", str(CLIENT_CPU), toolchain.build("load")]
