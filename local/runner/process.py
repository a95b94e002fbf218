"""One process group: started apart from the terminal, stopped as ECS stops a container, found again after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launch.py")


class Process:
    """A command in a session of its own, with its output in a file and its identity in a record file."""

    def __init__(self, process: asyncio.subprocess.Process, record: Path) -> None:
        self._process = process
        self._record = record

    @classmethod
    async def spawn(
        cls, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, output: Path, record: Path
    ) -> Process:
        """Starts `command` in `folder` with exactly `environment`; both outputs are appended to `output`.

        On Linux it dies with the thread that calls this (prctl(2), PR_SET_PDEATHSIG): call it from one that lasts.
        """
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())),
                *command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"pid": process.pid, "identity": _identity(process.pid)}), encoding="utf-8")
        return cls(process, record)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit code as a shell gives it (137 for SIGKILL), once the process and all of its group are gone."""
        code = await self._process.wait()
        kill_group(self.pid)
        self._record.unlink(missing_ok=True)
        return 128 - code if code < 0 else code

    async def stop(self, timeout_seconds: float) -> int:
        """SIGTERM, and SIGKILL to the whole group once the time is over. Returns the exit code."""
        # ECS signals the container's first process only; what that one started is its own to stop.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        return await self.wait()

    def kill(self) -> None:
        if self._process.returncode is None:
            kill_group(self.pid)


def kill_group(pid: int) -> None:
    """SIGKILL to a process group; none is fine. (macOS answers EPERM for a group of zombies.)"""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def run_command(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout_seconds: float
) -> tuple[int | None, str]:
    """Exit code (None: it took too long and was killed) and the last 300 characters that the command printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
        return process.returncode, output.decode(errors="replace").strip()[-300:]
    except TimeoutError:
        return None, f"no answer within {timeout_seconds:g} s"
    finally:
        if process.returncode is None:
            kill_group(process.pid)
            await process.wait()


def end_leftovers(records: Path) -> int:
    """Kills what a runner that was killed left behind, by the record files in a folder. Returns how many groups.

    A process is taken for the recorded one only when it also started at the same moment: a pid is reused. Where the
    process is gone (on Linux it dies with the runner) the others of its group may live on: they end as well.
    """
    ended = 0
    for record in sorted(records.glob("*.json")):
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
            pid, identity = int(known["pid"]), str(known["identity"])
        except (ValueError, KeyError, TypeError):
            pid, identity = 0, ""  # cut short by the crash
        if pid and (_identity(pid) == identity or _is_orphaned_group(pid, identity)):
            kill_group(pid)
            ended += 1
        record.unlink(missing_ok=True)
    return ended


def _identity(pid: int) -> str:
    """What tells one process from a later one with the same pid: its boot and its start; empty when there is none."""
    if sys.platform == "linux":
        fields = _process_fields(pid)
        return f"{_boot()} {fields[19]}" if fields and fields[0] != "Z" else ""
    result = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _is_orphaned_group(pid: int, identity: str) -> bool:
    """Whether a group still has members that started after its first process, which is gone (Linux only).

    A pid is not given to a new process while a group has it as its name, so the group can only be the recorded one.
    """
    boot, _, started = identity.partition(" ")
    if sys.platform != "linux" or boot != _boot() or _identity(pid):
        return False
    others = (_process_fields(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return any(
        fields and fields[0] != "Z" and fields[2] == str(pid) and int(fields[19]) >= int(started) for fields in others
    )


def _process_fields(pid: int) -> list[str]:
    """The fields of proc(5) `stat` from the third one, the state, on; empty when there is no such process."""
    try:
        # The second field, the command in brackets, may hold spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
