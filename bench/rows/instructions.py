"""Instructions a request of the four hot paths: a count that repeats within a hundredth, whatever else the machine does.

``counts.json`` keeps those of the last version that was accepted, and a run is judged by them; ``--keep`` writes them anew.
"""

from __future__ import annotations

import contextlib
import json
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench import callgrind, client
from bench.candidates import Server
from bench.client import LoadFailed
from bench.figures import TIMES, Goal, Measured, Metrics, Spread, values
from bench.processes import await_listening
from bench.rows import Bench, Column, Row, Trials
from bench.rows.files import KIB, paths_file, store_files
from bench.rows.queue import ingest_load, until

KEPT = Path(__file__).parent.parent / "counts.json"
_WORK = "instructions a request"
_REQUESTS = 200
# Nothing is fast in valgrind: an import of boto3 takes half a minute.
_START_SECONDS = 180.0

Requests = Callable[[Bench, Server, int], None]


def _row(
    path: str, title: str, candidate: str, most: float, prepare: Callable[[Server], None], requests: Requests
) -> Row:
    def begin(bench: Bench, stack: contextlib.ExitStack, name: str) -> Callable[[], Metrics]:
        place = bench.ram / path / name
        place.mkdir(parents=True, exist_ok=True)
        output = place / "callgrind"
        running = bench.candidates.running(
            name, place / "files", listening=False, prefix=callgrind.prefix(output), seconds=_START_SECONDS
        )
        server = stack.enter_context(running)
        if candidate == "service":
            await_listening(server.process, server.port, _START_SECONDS)
        prepare(server)
        # What is done once, the first time, is no part of a request.
        requests(bench, server, _REQUESTS // 4)
        return partial(_count, bench, server, output, requests, path)

    def alone(bench: Bench, name: str) -> Metrics:
        with contextlib.ExitStack() as stack:
            return begin(bench, stack, name)()

    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        if (reason := callgrind.unavailable()) is not None:
            raise LoadFailed(reason)
        with contextlib.ExitStack() as stack:
            names = bench.candidates.present((candidate,))
            # Two workers on one queue would share the messages.
            if candidate == "worker":
                yield {name: partial(alone, bench, name) for name in names}
            else:
                yield {name: begin(bench, stack, name) for name in names}

    return Row(
        name=f"instructions-{path}",
        work=_WORK,
        title=title,
        candidates=(candidate,),
        columns=(Column("instructions", "thousand", 0, 0.001), Column("by_kept", f"{TIMES} those kept", 3)),
        goals=(
            Goal(text=f"instructions {TIMES} those kept", metric="by_kept", sense="<=", must=most, subject=candidate),
        ),
        setup=setup,
    )


def _count(bench: Bench, server: Server, output: Path, requests: Requests, path: str) -> Metrics:
    try:
        callgrind.begin(server.process.pid)
        requests(bench, server, _REQUESTS)
        found = callgrind.end(server.process.pid, output) / _REQUESTS
    except callgrind.CountFailed as error:
        raise LoadFailed(str(error)) from error
    kept = kept_counts().get(path)
    return {"instructions": found} | ({"by_kept": found / kept} if kept else {})


def kept_counts() -> dict[str, float]:
    """Instructions a request by path; none where they were counted on another Python or processor, which has others."""
    if not KEPT.exists():
        return {}
    content = json.loads(KEPT.read_text())
    return dict(content["instructions"]) if content["with"] == _with() else {}


def keep(measured: dict[str, Measured]) -> None:
    """Writes what was counted last as what a run is judged by."""
    counts = {}
    for row in ROWS:
        [subject] = row.candidates
        spread = Spread.of(values(measured[row.name].series.get(subject, []), "instructions"))
        if spread is None:
            raise LoadFailed(f"{row.name} was not counted, so there is nothing to keep")
        counts[row.name.removeprefix("instructions-")] = round(spread.median)
    KEPT.write_text(json.dumps({"with": _with(), "instructions": counts}, indent=1) + "\n")


def _with() -> str:
    return f"Python {platform.python_version()}, {platform.machine()}, {sys.platform}"


def _uploads(_: Bench, server: Server, count: int) -> None:
    client.run(server.upload(body_bytes=KIB, connections=1, count=count), server.process, server.port)


def _downloads(_: Bench, server: Server, count: int) -> None:
    load = client.Load(paths=paths_file(server), connections=1, count=count, expect_bytes=KIB)
    client.run(load, server.process, server.port)


def _ingest(bench: Bench, server: Server, count: int) -> None:
    client.run(ingest_load(bench, connections=8, count=count), server.process, server.port)


def _messages(bench: Bench, _: Server, count: int) -> None:
    bench.cloud.reset()
    until(bench, lambda counts: counts["calls"].get("ReceiveMessage", 0) > 0, "asks for messages")
    bench.cloud.preload(count)
    until(bench, lambda counts: counts["drain_seconds"] is not None, "has done all messages")


def _nothing(_: Server) -> None:
    pass


ROWS: tuple[Row, ...] = (
    _row("upload-1k", "upload of 1 KiB", "service", 1.03, _nothing, _uploads),
    _row("download-1k", "download of 1 KiB", "service", 1.03, lambda server: store_files(server, KIB, 16), _downloads),
    _row("ingest", "ingest of 1 KiB, 8 connections", "service", 1.03, _nothing, _ingest),
    # How many messages share a call depends on how the threads take turns, which valgrind changes from run to run.
    _row("message", "a message, from the queue to the bucket", "worker", 1.15, _nothing, _messages),
)
