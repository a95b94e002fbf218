"""Counts the instructions that a process executes: a figure that repeats where time on a shared machine does not.

Valgrind runs the program on a machine of its own, some fifty times slower, and counts each instruction of user space:
https://valgrind.org/docs/manual/cl-manual.html. What the kernel does is not counted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


class CountFailed(Exception):
    """Valgrind did not do what it was asked to; the message has its own words."""


def unavailable() -> str | None:
    """Why nothing can be counted here, or None."""
    return None if shutil.which("callgrind_control") else "valgrind is not installed (Debian: valgrind)"


def prefix(output: Path) -> list[str]:
    """What goes before a command that is to be counted. Nothing is until ``begin``."""
    options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
    # The fair scheduler: with the default one, a thread that waits for the lock may wait for long.
    return ["valgrind", *options, "--fair-sched=try", "--log-file=/dev/null"]


def begin(pid: int) -> None:
    """Counts from now on. Raises CountFailed."""
    _control("--instr=on", pid)
    _control("--zero", pid)


def end(pid: int, output: Path) -> int:
    """The instructions since ``begin``. Raises CountFailed."""
    _control("--dump", pid)
    _control("--instr=off", pid)
    # Dumps are numbered; each has what was counted since the one before.
    dumps = sorted(output.parent.glob(f"{output.name}.*"), key=lambda file: int(file.suffix[1:]))
    if not dumps or (found := _TOTAL.search(dumps[-1].read_text(errors="replace"))) is None:
        raise CountFailed(f"valgrind wrote no count to {output}.*")
    return int(found[1])


def _control(request: str, pid: int) -> None:
    asked = subprocess.run(["callgrind_control", request, str(pid)], capture_output=True, text=True, timeout=120)
    if asked.returncode != 0 or "Error" in asked.stdout:
        raise CountFailed(f"callgrind_control {request}: {(asked.stdout + asked.stderr).strip()}")
