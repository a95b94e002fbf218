"""A page of names out of very many files, against the whole directory at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import client, stores
from bench.candidates import Server
from bench.figures import TIMES, Goal, Metrics
from bench.rows import CPU, P50, P99, RATE, Bench, Row, Trials

MANY, FEW, PAGE = 1_000_000, 10_000, 1000
_CANDIDATES = ("service", "service-few", "fiber", "nethttp")


@contextlib.contextmanager
def _setup(bench: Bench) -> Iterator[Trials]:
    with contextlib.ExitStack() as stack:

        def serving(candidate: str, root: Path) -> Server:
            return stack.enter_context(bench.candidates.running(candidate, root))

        flat = stores.flat(MANY)
        yield {
            "service": partial(_pages, bench, serving("service", stores.nested(MANY)), MANY),
            "service-few": partial(_pages, bench, serving("service", stores.nested(FEW)), FEW),
            "fiber": partial(_whole, bench, serving("fiber", flat)),
            "nethttp": partial(_whole, bench, serving("nethttp", flat)),
        }


def _pages(bench: Bench, server: Server, count: int) -> Metrics:
    paths = bench.disk / f"pages-{count}.paths"
    paths.parent.mkdir(parents=True, exist_ok=True)
    afters = stores.sample_ids(count, 50)
    paths.write_text("\n".join(f"/arquivos?limit={PAGE}&after={file_id}.txt" for file_id in afters))
    load = client.Load(paths=paths, connections=1, seconds=bench.seconds(1.5))
    return client.run(load, server.process, server.port)


def _whole(bench: Bench, server: Server) -> Metrics:
    load = client.Load(path="/arquivos", connections=1, count=1 if bench.quick else 2, warm_count=1)
    return client.run(load, server.process, server.port)


ROWS = (
    Row(
        name="listing",
        work="a page of 1,000 names out of 1,000,000 files",
        title="pages from all over the store, and the whole flat directory",
        candidates=_CANDIDATES,
        columns=(RATE, P50, P99, CPU),
        goals=(
            Goal(
                text=f"rate {TIMES} the full listing of the Go service",
                metric="rate",
                sense=">=",
                must=50,
                against="fiber",
            ),
            Goal(
                text=f"time {TIMES} that of the same page out of 10,000",
                metric="mean_ms",
                sense="<=",
                must=1.5,
                against="service-few",
            ),
        ),
        setup=_setup,
        ratio=("rate", "fiber"),
    ),
)
