"""One row of the results each: what is run, and which goals it is judged by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench import quota
from bench.candidates import Candidates, Server
from bench.client import Load, LoadFailed, run
from bench.cloud import Cloud
from bench.figures import Goal, Metrics
from bench.processes import StartFailed

Trials = Mapping[str, Callable[[], Metrics]]
"""By candidate: what measures it once."""


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a row's table."""

    metric: str
    title: str
    digits: int = 0
    scale: float = 1.0


RATE = Column("rate", "requests/s")
P50 = Column("p50_ms", "p50 ms", 2)
P99 = Column("p99_ms", "p99 ms", 2)
CPU = Column("cpu_us", "CPU µs/request")


@dataclass(slots=True)
class Bench:
    """What rows need: candidates, places for files, and how long to measure."""

    candidates: Candidates
    cloud: Cloud
    disk: Path
    ram: Path
    quick: bool

    def seconds(self, full: float) -> float:
        return min(full, 0.6) if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    work: str
    """The row of the table of goals that it belongs to."""
    title: str
    candidates: tuple[str, ...]
    columns: tuple[Column, ...]
    goals: tuple[Goal, ...]
    setup: Callable[[Bench], AbstractContextManager[Trials]]
    ratio: tuple[str, str] | None = None
    """The metric and the candidate that the column of ratios compares with."""


def attempt(
    stack: contextlib.ExitStack,
    bench: Bench,
    candidate: str,
    place: Path,
    measure: Callable[[Server], Metrics],
    prepare: Callable[[Server], object] | None = None,
    prefix: Sequence[str] = (),
) -> Callable[[], Metrics]:
    """Starts a candidate below ``place`` for as long as ``stack``, prepares it, and returns what measures it once.

    One that can't be started fails when it is measured, so that the others are measured all the same.
    """
    try:
        server = stack.enter_context(bench.candidates.running(candidate, place / candidate, prefix=prefix))
        if prepare is not None:
            prepare(server)
    except (LoadFailed, StartFailed) as error:
        reason = error

        def fail() -> Metrics:
            raise reason

        return fail
    return lambda: measure(server)


def served(
    candidates: Sequence[str],
    name: str,
    prepare: Callable[[Server], object],
    load: Callable[[Bench, Server], Load],
    *,
    share: float | None = None,
) -> Callable[[Bench], AbstractContextManager[Trials]]:
    """What sets up a row in which each of ``candidates`` serves the same load, with its files in RAM below ``name``.

    ``share`` is how much of a core each may use, if not all of it.
    """

    @contextlib.contextmanager
    def setup(bench: Bench) -> Iterator[Trials]:
        if share is not None and (reason := quota.unavailable()) is not None:
            raise LoadFailed(reason)

        def measure(server: Server) -> Metrics:
            return run(load(bench, server), server.process, server.port)

        with contextlib.ExitStack() as stack:
            trials = {}
            for candidate in bench.candidates.present(candidates):
                prefix = () if share is None else stack.enter_context(quota.prefix(share))
                trials[candidate] = attempt(stack, bench, candidate, bench.ram / name, measure, prepare, prefix)
            yield trials

    return setup
