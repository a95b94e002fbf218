"""What memory a large upload and a thousand slow clients cost. Each measurement is of a fresh process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench import client
from bench.candidates import Server
from bench.figures import Goal, Metrics
from bench.rows import Bench, Column, Row, Trials

MIB = 1024 * 1024
LARGE_BYTES = 2048 * MIB
SLOW_CLIENTS = 1000
# Each has sent this much of a body of 1 MiB: less than the service hands to the file system in one piece.
SLOW_BYTES = 100_000

_CANDIDATES = ("service", "nethttp", "fiber")
_COLUMNS = (
    Column("growth_mib", "growth MiB", 1),
    Column("idle_mib", "before MiB", 1),
    Column("peak_mib", "peak MiB", 1),
)
_WORK = "memory of an upload of 2 GiB and of 1,000 slow clients"


def _row(name: str, title: str, limit: float, use: Callable[[Bench, Server], None]) -> Row:
    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        yield {
            candidate: partial(_growth, bench, candidate, name, use)
            for candidate in bench.candidates.present(_CANDIDATES)
        }

    return Row(
        name=name,
        work=_WORK,
        title=title,
        candidates=_CANDIDATES,
        columns=_COLUMNS,
        goals=(Goal(text="MiB that the process grows by", metric="growth_mib", sense="<=", must=limit),),
        setup=setup,
    )


def _growth(bench: Bench, candidate: str, name: str, use: Callable[[Bench, Server], None]) -> Metrics:
    with bench.candidates.running(candidate, bench.disk / name / candidate) as server:
        try:
            server.check(100_000)
            time.sleep(0.5)
            idle = server.process.rss_mib()
            server.process.reset_peak()
            use(bench, server)
            peak = server.process.peak_mib()
        finally:
            server.clear()
    return {"growth_mib": peak - idle, "idle_mib": idle, "peak_mib": peak}


def _large(bench: Bench, server: Server) -> None:
    size = 512 * MIB if bench.quick else LARGE_BYTES
    client.run(server.upload(body_bytes=size, connections=1, count=1), server.process, server.port)


def _slow(bench: Bench, server: Server) -> None:
    with client.slow_clients(server.port, SLOW_CLIENTS, sent=SLOW_BYTES, of=MIB, path="/arquivos"):
        time.sleep(3.0)


ROWS = (
    _row("memory-2g", "one upload of 2 GiB", 8, _large),
    _row("memory-slow", f"{SLOW_CLIENTS:,} clients that have each sent {SLOW_BYTES:,} bytes of 1 MiB", 32, _slow),
)
