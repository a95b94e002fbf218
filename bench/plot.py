"""``results.svg``: each goal's measured figure by its limit, on a logarithmic scale; right of 1 is met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
# The same figures make the same file.
matplotlib.rcParams["svg.hashsalt"] = "bench"
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot  # noqa: E402  after the choice of what it draws with

from bench.figures import Goal, Measured, Spread, judge  # noqa: E402
from bench.rows import Row  # noqa: E402

_COLOURS = {"met": "#4c9f70", "stretch met": "#1b7f4b", "not met": "#c8553d"}


def draw(rows: Sequence[Row], measured: dict[str, Measured], path: Path) -> None:
    """Draws what has been measured; nothing if that is nothing."""
    bars: list[tuple[str, Goal, Spread, str]] = []
    for row in rows:
        for goal in row.goals:
            verdict = judge(measured.get(row.name), goal)
            if verdict.spread is not None:
                bars.append((f"{row.name}: {goal.text}", goal, verdict.spread, verdict.state))
    if not bars:
        return
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.32 * len(bars)), layout="constrained")
    for at, (_, goal, spread, state) in enumerate(reversed(bars)):
        middle, ends = (
            _advantage(goal, spread.median),
            sorted(_advantage(goal, end) for end in (spread.low, spread.high)),
        )
        axes.barh(at, middle - 1, left=1, color=_COLOURS.get(state, "#999999"), height=0.6)
        axes.plot(ends, [at, at], color="#333333", linewidth=1)
        if goal.stretch is not None:
            axes.plot([_advantage(goal, goal.stretch)], [at], marker="|", color="#1b7f4b", markersize=14)
        axes.annotate(f" {spread.median:.3g} (goal {goal.limit})", (max(middle, *ends, 1), at), va="center", fontsize=7)
    axes.set_yticks(range(len(bars)), [name for name, *_ in reversed(bars)], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.margins(x=0.25)
    axes.set_xlabel(
        "times better than the goal asks (bar: median; line: least to greatest; green mark: stretch)", fontsize=8
    )
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _advantage(goal: Goal, value: float) -> float:
    # Nothing at all, such as memory that did not grow, has no place on a logarithmic scale.
    least = goal.must / 1000
    return max(value, least) / goal.must if goal.sense == ">=" else goal.must / max(value, least)
