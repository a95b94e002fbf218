"""Uploads and downloads, by size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench import client
from bench.candidates import Server
from bench.figures import TIMES, Goal, Metrics
from bench.rows import CPU, P50, P99, RATE, Bench, Column, Row, Trials, attempt

KIB, MIB = 1024, 1024 * 1024
_RATE_MIB = Column("mib_per_second", "MiB/s")
_PEERS = ("service", "nethttp", "nethttp-plain", "fiber", "nginx")
_LARGE_BYTES = 64 * MIB


def _goal(text: str, must: float, stretch: float | None = None) -> Goal:
    return Goal(text=text, metric="rate", sense=">=", must=must, stretch=stretch, against="nethttp")


def _upload(name: str, work: str, title: str, size: int, connections: int, place: str, goal: Goal) -> Row:
    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        def measure(server: Server) -> Metrics:
            if size >= _LARGE_BYTES:
                count = 1 if bench.quick else 3
                load = server.upload(body_bytes=size, connections=connections, count=count, warm_count=1)
            else:
                load = server.upload(body_bytes=size, connections=connections, seconds=bench.seconds(1.5))
            try:
                return _with_mib(client.run(load, server.process, server.port), size)
            finally:
                # Small files stay: a file system passes over the inodes that were freed within the last seconds one by
                # one, for each file that it makes, and that would be measured with the next candidate.
                if size >= MIB:
                    server.clear()
                else:
                    os.sync()

        def check(server: Server) -> None:
            server.check(min(size, MIB))

        with contextlib.ExitStack() as stack:
            yield {
                candidate: attempt(stack, bench, candidate, getattr(bench, place) / name, measure, check)
                for candidate in bench.candidates.present(_PEERS)
            }

    return _row(name, work, title, size, (goal,), setup)


def _download(name: str, title: str, size: int, count: int, connections: int, *goals: Goal, drop: bool = False) -> Row:
    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        def measure(server: Server) -> Metrics:
            large = size >= _LARGE_BYTES
            load = client.Load(
                paths=paths_file(server),
                connections=connections,
                expect_bytes=size,
                drop=drop,
                seconds=0 if large else bench.seconds(1.2),
                count=(2 if bench.quick else 4) if large else 0,
                warm_count=1 if large else 0,
            )
            return _with_mib(client.run(load, server.process, server.port), size)

        def prepare(server: Server) -> None:
            server.check(size)
            store_files(server, size, count)

        with contextlib.ExitStack() as stack:
            yield {
                candidate: attempt(stack, bench, candidate, bench.ram / name, measure, prepare)
                for candidate in bench.candidates.present(_PEERS)
            }

    work = "download 1 KiB, 16 at once" if size == KIB else "download 1 MiB and 256 MiB"
    return _row(name, work, title, size, goals, setup)


def _row(
    name: str,
    work: str,
    title: str,
    size: int,
    goals: tuple[Goal, ...],
    setup: Callable[[Bench], AbstractContextManager[Trials]],
) -> Row:
    return Row(
        name=name,
        work=work,
        title=title,
        candidates=_PEERS,
        columns=(RATE, P50, P99, CPU) if size < MIB else (RATE, _RATE_MIB, P50, CPU),
        goals=goals,
        setup=setup,
        ratio=("rate", "nethttp"),
    )


def _with_mib(found: Metrics, size: int) -> Metrics:
    return dict(found) | {"mib_per_second": found["rate"] * size / MIB}


def paths_file(server: Server) -> Path:
    return server.root.parent / f"{server.name}.paths"


def store_files(server: Server, size: int, count: int) -> None:
    """Stores ``count`` files of ``size`` bytes and lists where they are in ``paths_file``, one path a line."""
    body = bytes(range(256)) * (size // 256)
    paths = [server.put(f"{number:012d}", body) for number in range(count)]
    paths_file(server).write_text("\n".join(paths))


_1K = "upload 1 KiB, durable, 16 at once"
_LARGE = "upload 1 MiB and 256 MiB, streaming"
_AS_STRONG = "Go net/http doing the same"

ROWS = (
    _upload(
        "upload-1k", _1K, "1 KiB, 16 at once, disk", KIB, 16, "disk", _goal(f"rate {TIMES} {_AS_STRONG}", 0.8, 0.9)
    ),
    _upload(
        "upload-1m-c1", _LARGE, "1 MiB, one at a time, disk", MIB, 1, "disk", _goal(f"rate {TIMES} {_AS_STRONG}", 0.9)
    ),
    _upload("upload-1m-c4", _LARGE, "1 MiB, 4 at once, disk", MIB, 4, "disk", _goal(f"rate {TIMES} {_AS_STRONG}", 0.9)),
    _upload(
        "upload-1m-c1-ram", _LARGE, "1 MiB, one at a time, RAM", MIB, 1, "ram", _goal(f"rate {TIMES} {_AS_STRONG}", 0.9)
    ),
    _upload(
        "upload-1m-c4-ram", _LARGE, "1 MiB, 4 at once, RAM", MIB, 4, "ram", _goal(f"rate {TIMES} {_AS_STRONG}", 0.9)
    ),
    _upload(
        *("upload-256m", _LARGE, "256 MiB, one at a time, disk", 256 * MIB, 1, "disk"),
        _goal(f"rate {TIMES} {_AS_STRONG}", 0.95, 1.2),
    ),
    _upload(
        *("upload-256m-ram", _LARGE, "256 MiB, one at a time, RAM", 256 * MIB, 1, "ram"),
        _goal(f"rate {TIMES} {_AS_STRONG}", 0.95, 1.2),
    ),
    _download("download-1k", "1 KiB, 16 at once", KIB, 64, 16, _goal(f"rate {TIMES} {_AS_STRONG}", 0.3, 0.6)),
    _download("download-1m", "1 MiB, one at a time", MIB, 8, 1, _goal(f"rate {TIMES} {_AS_STRONG}", 0.7)),
    _download("download-256m", "256 MiB, one at a time", 256 * MIB, 1, 1, _goal(f"rate {TIMES} {_AS_STRONG}", 1.0)),
    _download("download-256m-drop", "256 MiB, to a client that drops it in the kernel", 256 * MIB, 1, 1, drop=True),
)
