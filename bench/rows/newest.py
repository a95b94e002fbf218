"""The newest Python that the service runs on, beside the one that all other rows are measured with."""

from __future__ import annotations

from collections.abc import Callable

from bench import client
from bench.candidates import NEWEST, Server
from bench.rows import CPU, P50, P99, RATE, Bench, Row, served
from bench.rows.files import KIB, paths_file, store_files
from bench.rows.queue import ingest_load

_CANDIDATES = ("service", f"service@{NEWEST}", "nethttp")


def _row(name: str, title: str, prepare: Callable[[Server], None], load: Callable[[Bench, Server], client.Load]) -> Row:
    return Row(
        name=name,
        work="the newest Python",
        title=title,
        candidates=_CANDIDATES,
        columns=(RATE, P50, P99, CPU),
        goals=(),
        setup=served(_CANDIDATES, name, prepare, load),
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
