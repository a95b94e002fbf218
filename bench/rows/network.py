"""1 KiB up and down on a file system with EFS's latencies, 64 at once, with the operations that a request costs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from bench import client, efs
from bench.candidates import Server
from bench.efs import Efs
from bench.figures import TIMES, Goal, Metrics
from bench.processes import CLIENT_CPU
from bench.rows import CPU, P50, P99, RATE, Bench, Column, Row, Trials, attempt
from bench.rows.files import KIB, paths_file, store_files

CONNECTIONS = 64
_COUNTED = 512
_CANDIDATES = ("service", "nethttp", "nethttp-fanout")
_WORK = "upload and download of 1 KiB on the EFS-like file system, 64 at once"
_COLUMNS = (
    RATE,
    P50,
    P99,
    CPU,
    Column("nfs_ops", "round trips/request", 1),
    Column("fuse_ops", "FUSE operations/request", 1),
)


def _goals(operations: int) -> tuple[Goal, ...]:
    return (
        Goal(text=f"rate {TIMES} Go net/http, one directory", metric="rate", sense=">=", must=1.0, against="nethttp"),
        Goal(
            text=f"rate {TIMES} Go net/http, 256 directories",
            metric="rate",
            sense=">=",
            must=1.0,
            against="nethttp-fanout",
        ),
        Goal(text="round trips of an NFS client a request", metric="nfs_ops", sense="<=", must=operations),
    )


def _setup(
    name: str, prepare: Callable[[Server], object], load: Callable[[Bench, Server], client.Load]
) -> Callable[[Bench], AbstractContextManager[Trials]]:
    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        with contextlib.ExitStack() as stack:
            trials = {}
            for candidate in bench.candidates.present(_CANDIDATES):
                # A mount each: renames across directories wait for each other on one mount.
                mount = bench.disk / name / candidate
                volume = stack.enter_context(efs.mounted(bench.ram / name / candidate, mount, cpus={CLIENT_CPU}))
                measure = partial(_counting, bench, volume, load)
                trials[candidate] = attempt(stack, bench, candidate, bench.disk / name, measure, prepare)
            yield trials

    return setup


def _counting(bench: Bench, volume: Efs, load: Callable[[Bench, Server], client.Load], server: Server) -> Metrics:
    wanted = load(bench, server)
    measured = client.run(wanted, server.process, server.port)
    overshoot = volume.ops().overshoot_mean_us
    # Counted apart, from rest to rest, so that no request is half in it.
    time.sleep(0.3)
    volume.reset()
    client.run(replace(wanted, seconds=0, count=_COUNTED), server.process, server.port)
    time.sleep(0.3)
    ops = volume.ops()
    return dict(measured) | {
        # To one decimal: a directory's attributes are asked for again every 30 s.
        "nfs_ops": round(ops.nfs_total / _COUNTED, 1),
        "fuse_ops": round(ops.fuse_total / _COUNTED, 1),
        "overshoot_us": overshoot,
    }


def _upload(bench: Bench, server: Server) -> client.Load:
    return server.upload(body_bytes=KIB, connections=CONNECTIONS, seconds=bench.seconds(2.0))


def _download(bench: Bench, server: Server) -> client.Load:
    paths, seconds = paths_file(server), bench.seconds(2.0)
    return client.Load(paths=paths, connections=CONNECTIONS, seconds=seconds, expect_bytes=KIB)


ROWS = (
    Row(
        name="efs-upload",
        work=_WORK,
        title="upload",
        candidates=_CANDIDATES,
        columns=_COLUMNS,
        goals=_goals(6),
        setup=_setup("efs-upload", lambda server: server.check(KIB), _upload),
        ratio=("rate", "nethttp"),
    ),
    Row(
        name="efs-download",
        work=_WORK,
        title="download",
        candidates=_CANDIDATES,
        columns=_COLUMNS,
        goals=_goals(3),
        setup=_setup("efs-download", lambda server: store_files(server, KIB, 256), _download),
        ratio=("rate", "nethttp"),
    ),
)
