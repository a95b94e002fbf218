"""Becomes a task's command, in a way that the command dies when the runner does.

Run as a script, `launch.py <runner's pid> <program> <argument>…`. A preexec function would do the same, but is unsafe
in a process with threads (https://docs.python.org/3/library/subprocess.html, preexec_fn). Only Linux knows such a
bond; elsewhere what a killed runner left behind is ended when the next one starts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    runner, program, *_ = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != int(runner):
            sys.exit("the runner ended before its task began")
    try:
        os.execvp(program, arguments[1:])
    except OSError as error:
        print(f"{program}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
