"""Measures the service against its peers and writes RESULTS.md, results.svg and results.json beside this file.

    python -m bench [--quick] [--only NAME ...] [--list] [--repetitions N] [--before REVISION] [--keep] [--output FOLDER]

It needs two cores, Linux, Go on PATH, the packages of requirements-bench.txt, and root for the rows on the EFS-like file
system. A run of some rows leaves the figures of the others as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import cloud, efs, machine, report, results, toolchain
from bench.candidates import Candidates
from bench.processes import CLIENT_CPU
from bench.rows import Bench, Row, files, instructions, listing, memory, network, newest, quarter, queue, startup
from bench.runner import run_row

ROWS: tuple[Row, ...] = (
    *(row for row in files.ROWS if row.name.startswith("upload")),
    *memory.ROWS,
    *(row for row in files.ROWS if row.name.startswith("download")),
    *network.ROWS,
    *listing.ROWS,
    *queue.ROWS,
    *quarter.ROWS,
    *newest.ROWS,
    *startup.ROWS,
    *instructions.ROWS,
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the service against its peers.")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="these rows; a name's beginning will do")
    parser.add_argument(
        "--quick", action="store_true", help="2 short repetitions: shows that it works, decides nothing"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--repetitions", type=int, help="of each row (5)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="where the results are (bench/)")
    parser.add_argument(
        "--before", metavar="REVISION", help="measure the service as this revision has it beside the present one"
    )
    parser.add_argument(
        "--keep", action="store_true", help="write the instructions counted as those that the next run is judged by"
    )
    chosen = parser.parse_args(arguments)
    if chosen.list:
        for row in ROWS:
            print(f"{row.name:18} {row.work}: {row.title}")
        return 0
    rows = [row for row in ROWS if not chosen.only or any(row.name.startswith(name) for name in chosen.only)]
    if not rows:
        parser.error(f"--only is {' '.join(chosen.only)}; allowed: {', '.join(row.name for row in ROWS)}")
    if (problem := _in_the_way()) is not None:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    repetitions = chosen.repetitions or (2 if chosen.quick else 5)
    chosen.output.mkdir(parents=True, exist_ok=True)
    _measure(rows, repetitions, quick=chosen.quick, output=chosen.output, before=chosen.before)
    if chosen.keep:
        instructions.keep(results.load(chosen.output / "results.json"))
    return 0


def _in_the_way() -> str | None:
    if sys.platform != "linux":
        return "only Linux has the system calls that it measures with"
    if (os.cpu_count() or 1) < 2:
        return "two cores are needed, one for the server and one for the client"
    return toolchain.missing()


def _measure(rows: list[Row], repetitions: int, *, quick: bool, output: Path, before: str | None) -> None:
    from bench import plot  # only here: --list and the tests do without matplotlib

    # A kill must still unmount and clean up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, {CLIENT_CPU})
    toolchain.LOCAL.mkdir(parents=True, exist_ok=True)
    disk = Path(tempfile.mkdtemp(prefix="work-", dir=toolchain.LOCAL))
    ram = Path(tempfile.mkdtemp(prefix="bench-", dir="/dev/shm"))
    versions = machine.describe()
    began = time.monotonic()
    try:
        # In RAM: a log line a request must not become work for the disk that is measured.
        logs = ram / "logs"
        with cloud.running(logs) as aws:
            bench = Bench(Candidates(aws, logs, before=before), aws, disk, ram, quick)
            for row in rows:
                if row.name.startswith("efs") and (reason := efs.unavailable()) is not None:
                    _say(f"{row.name}: not measured, {reason}")
                    continue
                _say(f"{row.name} …")
                found = run_row(row, bench, repetitions=repetitions, versions=versions, say=_say)
                merged = results.merge(results.load(output / "results.json"), [found])
                results.save(output / "results.json", merged)
                (output / "RESULTS.md").write_text(report.render(ROWS, merged), encoding="utf-8")
                plot.draw(ROWS, merged, output / "results.svg")
    finally:
        shutil.rmtree(disk, ignore_errors=True)
        shutil.rmtree(ram, ignore_errors=True)
    _say(f"{len(rows)} rows in {time.monotonic() - began:.0f} s: {output / 'RESULTS.md'}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
