"""How long the API takes to its first answer, and what it weighs then."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator
from functools import partial

from bench.figures import Goal, Metrics
from bench.processes import StartFailed
from bench.rows import Bench, Column, Row, Trials

# On one core with the service; any more often and the asking would take a share of it.
_EVERY_SECONDS = 0.005


@contextlib.contextmanager
def _setup(bench: Bench) -> Iterator[Trials]:
    _start(bench)  # once, so that every file is in memory
    yield {"service": partial(_start, bench)}


def _start(bench: Bench) -> Metrics:
    began = time.perf_counter()
    with bench.candidates.running("service", bench.disk / "startup", listening=False) as server:
        while not _is_up(server.port):
            if time.perf_counter() - began > 30 or server.process.popen.poll() is not None:
                raise StartFailed(f"/health never answered with 200: {server.process.tail()}")
            time.sleep(_EVERY_SECONDS)
        seconds = time.perf_counter() - began
        server.check(1024)
        time.sleep(1.0)
        return {"seconds": seconds, "idle_mib": server.process.rss_mib()}


def _is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


ROWS = (
    Row(
        name="start",
        work="start of the API to the first 200",
        title="from exec to the first 200 of /health, and memory a second later",
        candidates=("service",),
        columns=(Column("seconds", "seconds", 3), Column("idle_mib", "idle MiB", 1)),
        goals=(
            Goal(text="seconds to the first 200", metric="seconds", sense="<=", must=0.5),
            Goal(text="MiB while idle", metric="idle_mib", sense="<=", must=80),
        ),
        setup=_setup,
    ),
)
