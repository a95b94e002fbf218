"""Ingest, worker: what goes through the queue. SQS takes 5 ms a call, S3 20 ms."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bench import client, cloud
from bench.candidates import Server
from bench.client import LoadFailed
from bench.figures import TIMES, Goal, Metrics
from bench.rows import CPU, P50, P99, RATE, Bench, Column, Row, Trials, attempt

_INGEST = "ingest, 64 connections"
_INGESTERS = ("service", "nethttp", "fastapi")
_WORKER = "worker, 20 ms puts"
# The plain worker needs 30 ms a message.
_MESSAGES = {"worker": 8000, "plain-worker": 120}


def _payload() -> bytes:
    data = {"email_timestream": 1748000000, "subject": "bench", "text": "x" * 900}
    return json.dumps({"token": cloud.TOKEN, "data": data}).encode()


def _ingest_setup(lone: bool) -> Callable[[Bench], contextlib.AbstractContextManager[Trials]]:
    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        measure = _lone if lone else _ingest
        with contextlib.ExitStack() as stack:
            trials = {}
            for candidate in bench.candidates.present(_INGESTERS):
                trials[candidate] = attempt(stack, bench, candidate, bench.disk / "ingest", partial(measure, bench))
            yield trials

    return setup


def ingest_load(bench: Bench, **more: float | int) -> client.Load:
    """A load of ingest requests of 1 KiB each."""
    body = bench.ram / "ingest.json"
    body.parent.mkdir(parents=True, exist_ok=True)
    body.write_bytes(_payload())
    return client.Load(
        method="POST",
        path="/ingest",
        headers=["Content-Type: application/json"],
        body=body,
        expect=202,
        **more,  # type: ignore[arg-type]
    )


def _ingest(bench: Bench, server: Server) -> Metrics:
    load = ingest_load(bench, connections=64, seconds=bench.seconds(2.5), warmup=0.5)
    found = client.run(load, server.process, server.port, begin=bench.cloud.reset)
    counts = bench.cloud.counts()
    calls = counts["calls"].get("SendMessage", 0) + counts["calls"].get("SendMessageBatch", 0)
    return dict(found) | {"calls": calls / counts["messages"], "p99_by_p50": found["p99_ms"] / found["p50_ms"]}


def _lone(bench: Bench, server: Server) -> Metrics:
    load = ingest_load(bench, connections=1, count=20 if bench.quick else 40, warm_count=3, gap_ms=20)
    found = client.run(load, server.process, server.port)
    return dict(found) | {"added_ms": found["p50_ms"] - cloud.SQS_MS}


@contextlib.contextmanager
def _worker_setup(bench: Bench) -> Iterator[Trials]:
    yield {candidate: partial(_drain, bench, candidate) for candidate in bench.candidates.present(tuple(_MESSAGES))}


def _drain(bench: Bench, candidate: str) -> Metrics:
    messages = _MESSAGES[candidate.partition("@")[0]] // (4 if bench.quick else 1)
    bench.cloud.reset()
    with bench.candidates.running(candidate, bench.disk / "worker" / candidate, listening=False) as server:
        until(bench, lambda counts: counts["calls"].get("ReceiveMessage", 0) > 0, "asks for messages")
        time.sleep(0.5)
        before = server.process.cpu_seconds()
        bench.cloud.preload(messages)
        drained = until(bench, lambda counts: counts["drain_seconds"] is not None, "has done all messages")
        cpu = server.process.cpu_seconds() - before
        peak = server.process.peak_mib()
    stored = drained["calls"].get("PutObject", 0)
    if stored < messages:
        raise LoadFailed(f"{drained['deleted']} messages were deleted and {stored} objects stored")
    return {
        "rate": messages / drained["drain_seconds"],
        "cpu_us": cpu / messages * 1e6,
        "calls": sum(drained["calls"].values()) / messages,
        "peak_mib": peak,
    }


def until(bench: Bench, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Waits until the fake AWS's counts are as ``holds`` says, and returns them. Raises LoadFailed after 60 s."""
    deadline = time.monotonic() + 60
    counts = bench.cloud.counts()
    while time.monotonic() < deadline:
        counts = bench.cloud.counts()
        if holds(counts):
            return counts
        time.sleep(0.05)
    state = {name: counts[name] for name in ("waiting", "taken", "deleted", "calls")}
    raise LoadFailed(f"60 s have gone by and it never {what}: {state}")


ROWS = (
    Row(
        name="ingest",
        work=_INGEST,
        title="64 connections, 1 KiB each",
        candidates=_INGESTERS,
        columns=(RATE, P50, P99, CPU, Column("calls", "SQS calls/message", 3)),
        goals=(
            Goal(text=f"rate {TIMES} FastAPI + boto3", metric="rate", sense=">=", must=7, stretch=9, against="fastapi"),
            Goal(
                text=f"rate {TIMES} Go with one call a message",
                metric="rate",
                sense=">=",
                must=0.9,
                stretch=1.2,
                against="nethttp",
            ),
            Goal(text="SQS calls a message", metric="calls", sense="<=", must=0.12),
            Goal(text="p99 ÷ p50", metric="p99_by_p50", sense="<=", must=2),
        ),
        setup=_ingest_setup(lone=False),
        ratio=("rate", "fastapi"),
    ),
    Row(
        name="ingest-lone",
        work=_INGEST,
        title="one request every 20 ms",
        candidates=_INGESTERS,
        columns=(P50, P99, Column("added_ms", "ms beyond SQS's own", 2)),
        goals=(Goal(text="ms added to a lone request", metric="added_ms", sense="<=", must=5),),
        setup=_ingest_setup(lone=True),
    ),
    Row(
        name="worker",
        work=_WORKER,
        title="messages that wait on the queue until all are deleted",
        candidates=tuple(_MESSAGES),
        columns=(
            Column("rate", "messages/s"),
            Column("cpu_us", "CPU µs/message"),
            Column("calls", "AWS calls/message", 2),
            Column("peak_mib", "peak MiB", 1),
        ),
        goals=(
            Goal(
                text=f"rate {TIMES} the plain worker",
                metric="rate",
                sense=">=",
                must=40,
                stretch=100,
                subject="worker",
                against="plain-worker",
            ),
            Goal(
                text=f"CPU a message {TIMES} the plain worker",
                metric="cpu_us",
                sense="<=",
                must=0.3,
                subject="worker",
                against="plain-worker",
            ),
        ),
        setup=_worker_setup,
        ratio=("rate", "plain-worker"),
    ),
)
