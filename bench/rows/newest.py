"""The newest Python that the service runs on, beside the one that all other rows are measured with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from bench import client
from bench.candidates import NEWEST, Server
from bench.figures import Metrics
from bench.rows import CPU, P50, P99, RATE, Bench, Row, Trials, attempt
from bench.rows.files import KIB, paths_file, store_files
from bench.rows.queue import ingest_load

_CANDIDATES = ("service", f"service@{NEWEST}", "nethttp")


def _setup(
    name: str, prepare: Callable[[Server], None], load: Callable[[Bench, Server], client.Load]
) -> Callable[[Bench], AbstractContextManager[Trials]]:
    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        def measure(server: Server) -> Metrics:
            return client.run(load(bench, server), server.process, server.port)

        with contextlib.ExitStack() as stack:
            yield {
                candidate: attempt(stack, bench, candidate, bench.ram / name, measure, prepare)
                for candidate in bench.candidates.present(_CANDIDATES)
            }

    return setup


def _row(name: str, title: str, prepare: Callable[[Server], None], load: Callable[[Bench, Server], client.Load]) -> Row:
    return Row(
        name=name,
        work="the newest Python",
        title=title,
        candidates=_CANDIDATES,
        columns=(RATE, P50, P99, CPU),
        goals=(),
        setup=_setup(name, prepare, load),
        ratio=("rate", "nethttp"),
    )


def _downloads(bench: Bench, server: Server) -> client.Load:
    return client.Load(paths=paths_file(server), connections=16, seconds=bench.seconds(1.5), expect_bytes=KIB)


ROWS = (
    _row(
        "newest-ingest",
        "ingest, 64 connections",
        lambda server: None,
        lambda bench, server: ingest_load(bench, connections=64, seconds=bench.seconds(2.5)),
    ),
    _row("newest-download-1k", "download 1 KiB, 16 at once", lambda s: store_files(s, KIB, 64), _downloads),
)
