from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from bench.client import LoadFailed
from bench.figures import Goal, Measured, Metrics, judge
from bench.processes import StartFailed
from bench.report import render
from bench.rows import RATE, Bench, Row, Trials
from bench.runner import repeat, run_row

GOAL = Goal(text="rate", metric="rate", sense=">=", must=1.0, against="nethttp")


class _Candidates:
    """Has everything but nginx."""

    def absent(self, name: str) -> str | None:
        return "not installed" if name == "nginx" else None


def _bench() -> Bench:
    return Bench(cast(Any, _Candidates()), cast(Any, None), Path("disk"), Path("ram"), quick=True)


def _row(trials: dict[str, Callable[[], Metrics]], error: Exception | None = None) -> Row:
    @contextlib.contextmanager
    def setup(_: Bench) -> Iterator[Trials]:
        if error is not None:
            raise error
        yield trials

    return Row(
        name="row",
        work="work",
        title="title",
        candidates=("service", "nethttp", "nginx"),
        columns=(RATE,),
        goals=(GOAL,),
        setup=setup,
        ratio=("rate", "nethttp"),
    )


def test_every_candidate_runs_once_in_each_repetition_in_an_order_that_changes() -> None:
    ran: list[str] = []

    def trial(name: str) -> Metrics:
        ran.append(name)
        return {"rate": 1.0}

    trials = {name: partial(trial, name) for name in "abcd"}
    repeat(trials, measured := Measured("row", "", 6, {}), random.Random(4), lambda _: None)
    turns = [ran[at : at + 4] for at in range(0, 24, 4)]
    assert all(sorted(turn) == list("abcd") for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert {name: len(series) for name, series in measured.series.items()} == dict.fromkeys("abcd", 6)


def test_an_error_leaves_a_gap_and_a_note_and_the_goal_unmet() -> None:
    rates = iter([2.0, 2.0])

    def failing() -> Metrics:
        if (rate := next(rates, None)) is None:
            raise LoadFailed("status 500")
        return {"rate": rate}

    row = _row({"service": failing, "nethttp": lambda: {"rate": 1.0}})
    found = run_row(row, _bench(), repetitions=3, versions={}, say=lambda _: None)
    assert found.series["service"] == [{"rate": 2.0}, {"rate": 2.0}, None]
    assert "status 500" in found.notes["service"]
    assert judge(found, GOAL).state == "not met"


def test_a_row_that_cannot_be_set_up_says_why_and_ends_nothing_else() -> None:
    said: list[str] = []
    row = _row({}, StartFailed("no such program"))
    found = run_row(row, _bench(), repetitions=2, versions={}, say=said.append)
    assert "no such program" in found.notes["service"]
    assert any("no such program" in line for line in said)


def test_the_report_states_figures_verdicts_and_what_is_not_installed() -> None:
    row = _row({"service": lambda: {"rate": 1500.0}, "nethttp": lambda: {"rate": 1000.0}})
    found = run_row(row, _bench(), repetitions=2, versions={"Go": "1.26"}, say=lambda _: None)
    text = render([row], {"row": found})
    assert "| rate ≥ 1 | 1.500 [1.500 – 1.500] | met |" in text  # noqa: RUF001
    assert "| 1,500 [1,500 – 1,500] |" in text  # noqa: RUF001
    assert "nginx, no sync and no digest | not installed |" in text
    assert "2 repetitions. Go 1.26" in text


def test_the_report_has_what_was_measured_beside_a_rows_own_candidates() -> None:
    row = _row(
        {"service": lambda: {"rate": 3.0}, "service@before": lambda: {"rate": 2.0}, "nethttp": lambda: {"rate": 1.0}}
    )
    text = render([row], {"row": run_row(row, _bench(), repetitions=1, versions={}, say=lambda _: None)})
    assert "| this service before | 2.00 [2.00 – 2.00] |" in text  # noqa: RUF001


def test_the_report_of_nothing_measured_says_so() -> None:
    text = render([_row({})], {})
    assert "**not measured**" in text
    assert "Not measured yet." in text
