"""What a task of 256 CPU units, a quarter of a core, does; and what this service's own connection is worth there."""

from __future__ import annotations

from collections.abc import Callable

from bench import client
from bench.candidates import Server
from bench.figures import TIMES, Goal
from bench.rows import CPU, P50, P99, RATE, Bench, Row, served
from bench.rows.files import KIB, MIB, paths_file, store_files

_SHARE = 0.25
_CANDIDATES = ("service", "service@stock", "nethttp")
_WORK = "a quarter of a core"


def _row(
    name: str, title: str, must: float, prepare: Callable[[Server], None], load: Callable[[Bench, Server], client.Load]
) -> Row:
    return Row(
        name=name,
        work=_WORK,
        title=title,
        candidates=_CANDIDATES,
        columns=(RATE, P50, P99, CPU),
        goals=(
            Goal(
                text=f"rate {TIMES} the same behind uvicorn's own protocol",
                metric="rate",
                sense=">=",
                must=must,
                against="service@stock",
            ),
        ),
        setup=served(_CANDIDATES, name, prepare, load, share=_SHARE),
        ratio=("rate", "service@stock"),
    )


def _upload(size: int, connections: int) -> Callable[[Bench, Server], client.Load]:
    def load(bench: Bench, server: Server) -> client.Load:
        return server.upload(body_bytes=size, connections=connections, seconds=bench.seconds(3.0))

    return load


def _download(size: int, connections: int) -> Callable[[Bench, Server], client.Load]:
    def load(bench: Bench, server: Server) -> client.Load:
        seconds = bench.seconds(3.0)
        return client.Load(paths=paths_file(server), connections=connections, seconds=seconds, expect_bytes=size)

    return load


def _stored(size: int) -> Callable[[Server], None]:
    def prepare(server: Server) -> None:
        server.check(size)
        store_files(server, size, 4)

    return prepare


# What a connection of its own costs in code, it has to bring back with large bodies; with small ones it must not cost time.
ROWS = (
    _row("quarter-up-1k", "upload of 1 KiB, 16 at once, RAM", 1.0, lambda server: server.check(KIB), _upload(KIB, 16)),
    _row(
        "quarter-up-16m",
        "upload of 16 MiB, 2 at once, RAM",
        1.1,
        lambda server: server.check(MIB),
        _upload(16 * MIB, 2),
    ),
    _row("quarter-down-1k", "download of 1 KiB, 16 at once", 1.0, _stored(KIB), _download(KIB, 16)),
    _row("quarter-down-16m", "download of 16 MiB, 2 at once", 1.1, _stored(16 * MIB), _download(16 * MIB, 2)),
)
