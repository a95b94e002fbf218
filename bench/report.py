"""``RESULTS.md``: the figures as tables, with what came of each goal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from bench import candidates
from bench.figures import TIMES, TO, Measured, Spread, Verdict, judge, ratios, values
from bench.rows import Column, Row

_HEAD = f"""# Results

Written by `make bench`; nothing here is edited by hand.

![ratios](results.svg)

**Method.** The server has one core to itself; the client, the fake AWS (SQS answers after 5 ms, S3 after 20 ms) and
the file system with EFS's latencies share the other. Within a repetition every candidate is measured once, in random
order; a ratio is taken within a repetition, and what is shown is the median of those [least {TO} greatest]. A repetition
in which any answer was not the expected one does not count. A goal is met by the median of a full set of repetitions.
CPU is the server's, user and system, children included, from `/proc`, in ticks of 10 ms.

The client receives every answer into a buffer, as any client does; where a row says that it drops it in the kernel, what
was sent by `sendfile(2)` is never touched by anyone.

This service runs with its image's environment, its log lines going to a file in RAM; the peers log nothing. "Disk" is the
file system of this folder, "RAM" is tmpfs, where a sync costs nothing. Peers: `go/cmd/nethttp` (streams to a temporary
file, hashes, keeps type, size and digest with the file, syncs file and directory), the same without syncs and digest,
`go/cmd/fiber` (the whole body in memory, then one write), nginx (`dav_methods PUT`), `peers/fastapi_ingest.py`,
`peers/plain_worker.py`.

The EFS-like file system (`go/cmd/efs`) adds 1 ms to a round trip that reads and 2.7 ms to one that changes metadata or
commits. *Round trips* are those of Linux' NFSv4.1 client, *FUSE operations* what the kernel asked of the loopback; how
one follows from the other is said in `go/cmd/efs/main.go`.
"""


def render(rows: Sequence[Row], measured: dict[str, Measured]) -> str:
    """The whole file."""
    parts = [_HEAD, _summary(rows, measured), *_groups(rows, measured)]
    return "\n".join(parts).rstrip() + "\n"


def _summary(rows: Sequence[Row], measured: dict[str, Measured]) -> str:
    lines = ["## Goals", "", "| work | row | goal (stretch) | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        for goal in row.goals:
            verdict = judge(measured.get(row.name), goal)
            lines.append(
                f"| {row.work} | {row.title} | {goal.text} {goal.limit} | {_spread(verdict.spread, 3)} | {_state(verdict)} |"
            )
    return "\n".join(lines) + "\n"


def _state(verdict: Verdict) -> str:
    mark = verdict.state if verdict.state == "met" else f"**{verdict.state}**"
    return f"{mark}: {_cell(verdict.why)}" if verdict.why else mark


def _groups(rows: Sequence[Row], measured: dict[str, Measured]) -> Iterable[str]:
    for work, members in groupby(rows, key=lambda row: row.work):
        yield f"## {work[0].upper()}{work[1:]}\n"
        for row in members:
            found = measured.get(row.name)
            yield f"### {row.title} (`{row.name}`)\n"
            yield _table(row, found) if found is not None else "Not measured yet.\n"


def _table(row: Row, found: Measured) -> str:
    titles = [
        "",
        *([f"{TIMES} {candidates.LABELS[row.ratio[1]]}"] if row.ratio else []),
        *(c.title for c in row.columns),
    ]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    beside = [name for name in found.series if name not in row.candidates]
    for candidate in (*row.candidates, *beside):
        series = found.series.get(candidate, [])
        cells = [candidates.LABELS[candidate]]
        if not any(metrics is not None for metrics in series):
            cells += [_cell(found.notes.get(candidate, "not run"))] + [""] * (len(titles) - 2)
        else:
            if row.ratio:
                metric, other = row.ratio
                cells.append(_spread(Spread.of(ratios(series, found.series.get(other, []), metric)), 2))
            cells += [_absolute(column, values(series, column.metric)) for column in row.columns]
        lines.append(f"| {' | '.join(cells)} |")
    noted = [f"{candidates.LABELS[name]}: {_cell(note)}" for name, note in found.notes.items() if name in found.series]
    lines += ["", *(f"- {note}" for note in noted)]
    lines += [f"{found.date}, {found.repetitions} repetitions. {_versions(found)}", ""]
    return "\n".join(lines)


def _versions(found: Measured) -> str:
    return ", ".join(f"{name} {version}" if name != "machine" else version for name, version in found.versions.items())


def _absolute(column: Column, found: Sequence[float]) -> str:
    return _spread(Spread.of([value * column.scale for value in found]), column.digits, thousands=True)


def _spread(spread: Spread | None, digits: int, *, thousands: bool = False) -> str:
    if spread is None:
        return TO
    separator = "," if thousands else ""

    def shown(value: float) -> str:
        return f"{value:{separator}.{digits}f}"

    return f"{shown(spread.median)} [{shown(spread.low)} {TO} {shown(spread.high)}]"


def _cell(text: str) -> str:
    """Text that can't break out of a table."""
    short = " ".join(text.split()).replace("|", "\\|")
    return short if len(short) <= 200 else short[:199] + "…"
