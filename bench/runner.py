"""Runs rows: in each repetition every candidate once, in random order."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Mapping

from bench.client import LoadFailed
from bench.figures import Measured, Metrics
from bench.processes import StartFailed
from bench.rows import Bench, Row

Report = Callable[[str], None]


def run_row(row: Row, bench: Bench, *, repetitions: int, versions: Mapping[str, str], say: Report) -> Measured:
    """Measures ``row``. A candidate that can't be started or answers wrongly leaves a gap and a note."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    measured = Measured(row.name, today, repetitions, dict(versions))
    for candidate in row.candidates:
        if (reason := bench.candidates.absent(candidate)) is not None:
            measured.notes[candidate] = reason
    try:
        with row.setup(bench) as trials:
            repeat(trials, measured, random.Random(), say)
    except (LoadFailed, StartFailed) as error:
        say(f"  {row.name}: {error}")
        for candidate in row.candidates:
            measured.notes.setdefault(candidate, str(error))
    return measured


def repeat(trials: Mapping[str, Callable[[], Metrics]], measured: Measured, order: random.Random, say: Report) -> None:
    """Fills ``measured`` by running each trial once a repetition."""
    for candidate in trials:
        measured.series[candidate] = []
    for number in range(measured.repetitions):
        for candidate in order.sample(list(trials), len(trials)):
            found: Metrics | None = None
            try:
                found = dict(trials[candidate]())
            except (LoadFailed, StartFailed) as error:
                measured.notes.setdefault(candidate, f"repetition {number + 1}: {error}")
                say(f"  {measured.name}, {candidate}: {error}")
            measured.series[candidate].append(found)
