"""Servers as processes of their own on one core, and what they cost: CPU time and memory, children included."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SERVER_CPU = 0
CLIENT_CPU = 1
_TICKS = os.sysconf("SC_CLK_TCK")


class StartFailed(Exception):
    """A server did not come up; the message has what it said."""


class Process:
    """A process and its children."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.log = log

    def cpu_seconds(self) -> float:
        """CPU time so far, to 10 ms."""
        ticks = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
        return ticks / _TICKS

    def rss_mib(self) -> float:
        """Memory now: VmRSS."""
        return self._status("VmRSS")

    def peak_mib(self) -> float:
        """The most memory since ``reset_peak``: VmHWM."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        for pid in self._tree():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def _tree(self) -> list[int]:
        pids, at = [self.pid], 0
        while at < len(pids):
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pids[at]}/task").iterdir():
                    pids.extend(int(child) for child in (task / "children").read_text().split())
            at += 1
        return pids

    def _status(self, name: str) -> float:
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(f"{name}:"):
                        total += int(line.split()[1])
        return total / 1024


@contextlib.contextmanager
def running(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    cpu: int | None = SERVER_CPU,
) -> Iterator[Process]:
    """Runs a program on one core until the end of the block."""
    pin: list[str | Path] = ["taskset", "--cpu-list", str(cpu)] if cpu is not None else []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [*pin, *arguments],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Process(popen, log)
    finally:
        popen.terminate()
        try:
            popen.wait(timeout=20)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def await_listening(process: Process, port: int, seconds: float = 30.0) -> None:
    """Waits until ``port`` takes connections. Raises StartFailed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise StartFailed(f"it exited with {process.popen.returncode}: {process.tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise StartFailed(f"nothing listens on port {port} after {seconds:g} s: {process.tail()}")
