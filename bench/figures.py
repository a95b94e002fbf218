"""The arithmetic: what is measured, how repetitions are put together, and whether a goal is met.

A ratio is taken within a repetition, where both sides met the same machine; the median is over those ratios, never a
ratio of medians. A repetition in which a side had an error counts for nothing, and a goal without a full set of
repetitions is not met.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

# Named, since they look like letters and hyphens.
TIMES = "\N{MULTIPLICATION SIGN}"
TO = "\N{EN DASH}"

Metrics = Mapping[str, float]
# The repetitions of one candidate, in order; None where it was not run or had an error.
Series = Sequence[Metrics | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of the repetitions that count."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        if not values:
            return None
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One promise about a row. With ``against`` it is about the ratio of two candidates, else about one's own figure."""

    text: str
    metric: str
    sense: Literal[">=", "<="]
    must: float
    stretch: float | None = None
    against: str | None = None
    against_metric: str | None = None
    subject: str = "service"

    @property
    def limit(self) -> str:
        sign = "≥" if self.sense == ">=" else "≤"
        stretch = f" ({self.stretch:g})" if self.stretch is not None else ""
        return f"{sign} {self.must:g}{stretch}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a goal. ``spread`` is None where nothing could be compared."""

    state: Literal["met", "stretch met", "not met", "not measured"]
    spread: Spread | None
    why: str = ""


@dataclass(slots=True)
class Measured:
    """All that one run has found out about one row."""

    name: str
    date: str
    repetitions: int
    versions: dict[str, str]
    series: dict[str, list[Metrics | None]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """By candidate: the first error, or why it was not run."""

    def as_json(self) -> dict[str, Any]:
        return {
            "date": self.date,
            "repetitions": self.repetitions,
            "versions": self.versions,
            "series": self.series,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, name: str, content: Mapping[str, Any]) -> Self:
        return cls(
            name=name,
            date=content["date"],
            repetitions=content["repetitions"],
            versions=dict(content["versions"]),
            series={candidate: list(found) for candidate, found in content["series"].items()},
            notes=dict(content["notes"]),
        )


def values(series: Series, metric: str) -> list[float]:
    """``metric`` of every repetition that counts."""
    return [found[metric] for found in series if found is not None and metric in found]


def ratios(subject: Series, against: Series, metric: str, against_metric: str | None = None) -> list[float]:
    """``metric`` of ``subject`` by that of ``against``, within each repetition in which both count."""
    other = against_metric or metric
    pairs = zip(subject, against, strict=False)
    return [
        mine[metric] / theirs[other]
        for mine, theirs in pairs
        if mine is not None and theirs is not None and metric in mine and theirs.get(other)
    ]


def compared(row: Measured, goal: Goal) -> Spread | None:
    """What ``goal`` is judged by."""
    subject = row.series.get(goal.subject, [])
    if goal.against is None:
        return Spread.of(values(subject, goal.metric))
    return Spread.of(ratios(subject, row.series.get(goal.against, []), goal.metric, goal.against_metric))


def judge(row: Measured | None, goal: Goal) -> Verdict:
    """Whether ``goal`` is met by the median of a row's repetitions."""
    if row is None:
        return Verdict("not measured", None, "this row has not been run")
    spread = compared(row, goal)
    sides = [goal.subject] if goal.against is None else [goal.subject, goal.against]
    why = "; ".join(f"{side}: {row.notes[side]}" for side in sides if side in row.notes)
    if spread is None:
        failed = goal.subject in row.notes and any(found is None for found in row.series.get(goal.subject, []))
        return Verdict("not met" if failed else "not measured", None, why or "no repetition to compare")
    if spread.count < row.repetitions:
        return Verdict("not met", spread, why or f"{spread.count} of {row.repetitions} repetitions count")
    if not _holds(spread.median, goal.sense, goal.must):
        return Verdict("not met", spread)
    if goal.stretch is not None and _holds(spread.median, goal.sense, goal.stretch):
        return Verdict("stretch met", spread)
    return Verdict("met", spread)


def _holds(value: float, sense: str, limit: float) -> bool:
    return value >= limit if sense == ">=" else value <= limit
