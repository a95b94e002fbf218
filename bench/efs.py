"""A mount that behaves like EFS: latency on each round trip, counts, faults, hangs. See ``bench/go/cmd/efs/main.go``.

with efs.mounted(tmp_path / "disk", tmp_path / "mount") as volume:
    volume.hang()
    ...
    volume.heal()
    print(volume.ops().nfs)
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from bench import toolchain

READ_MS = 1.0
CHANGE_MS = 2.7

Errno = Literal["ENOSPC", "EDQUOT", "EIO", "ESTALE"]


class EfsError(Exception):
    """The mount could not be made or asked."""


@dataclass(frozen=True, slots=True)
class Ops:
    """Operations since the last reset, by name."""

    fuse: Mapping[str, int]
    """What the kernel asked for, such as ``lookup``, ``create``, ``flush``."""
    nfs: Mapping[str, int]
    """Round trips that an NFS client would have made in their place."""
    free: Mapping[str, int]
    """What FUSE asks and NFS does not, by reason."""
    hung: int
    """Operations that wait now, after ``hang``."""
    overshoot_mean_us: float
    """By how much the added latencies were too long, in microseconds."""
    overshoot_worst_us: float

    @property
    def fuse_total(self) -> int:
        return sum(self.fuse.values())

    @property
    def nfs_total(self) -> int:
        return sum(self.nfs.values())


class Efs:
    """The control side of one mount."""

    def __init__(self, mount: Path, address: str, process: subprocess.Popen[str]) -> None:
        self.mount = mount
        self.pid = process.pid
        self._address = address

    def ops(self) -> Ops:
        found = json.loads(self._ask("GET", "/ops"))
        return Ops(
            fuse=found["fuse"],
            nfs=found["nfs"],
            free=found["free"],
            hung=found["hung"],
            overshoot_mean_us=found["overshoot_mean_us"],
            overshoot_worst_us=found["overshoot_worst_us"],
        )

    def reset(self) -> None:
        """Sets the counts to 0."""
        self._ask("POST", "/reset")

    def fault(self, errno: Errno, ops: Sequence[str] = ("all",), probability: float = 1.0) -> None:
        """From now on ``ops``, by the names of ``Ops.fuse``, fail with ``errno``. Replaces an earlier fault."""
        self._ask("POST", "/fault", errno=errno, ops=",".join(ops), probability=str(probability))

    def hang(self, ops: Sequence[str] = ("all",)) -> None:
        """From now on ``ops`` wait, until ``heal``; only SIGKILL ends the wait of a process."""
        self._ask("POST", "/hang", ops=",".join(ops))

    def heal(self) -> None:
        """Ends faults and hangs; what waits goes on."""
        self._ask("POST", "/heal")

    def remount(self, *, read_only: bool) -> None:
        """Lets the kernel refuse every change with EROFS, or take them again; who has a file open to write is in the way."""
        mode = "ro" if read_only else "rw"
        command: list[str | Path] = ["mount", "--internal-only", "--options", f"remount,{mode}", self.mount]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise EfsError(f"can't remount {self.mount}: {done.stderr.strip()}")

    def _ask(self, method: str, path: str, **query: str) -> str:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except OSError as error:
            raise EfsError(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise EfsError(f"{method} {path}: {text.strip()}")
        return text


def unavailable() -> str | None:
    """Why no mount can be made here, or None."""
    if sys.platform != "linux":
        return "only Linux can mount it"
    if os.geteuid() != 0:
        return "only root can mount it"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse can't be opened: {error.strerror}"
    return toolchain.missing()


def build() -> Path:
    """The program, built if its sources have changed. Raises toolchain.BuildFailed."""
    return toolchain.build("efs")


@contextlib.contextmanager
def mounted(
    source: Path,
    mount: Path,
    *,
    read_ms: float = READ_MS,
    change_ms: float = CHANGE_MS,
    cpus: set[int] | None = None,
) -> Iterator[Efs]:
    """Mounts ``source`` at ``mount``; both are made if missing. Raises EfsError if that is not possible here.

    On exit the mount is gone, whoever still uses it; it is gone as well when this process is killed.
    """
    program = build()
    source.mkdir(parents=True, exist_ok=True)
    _detach(mount)
    mount.mkdir(parents=True, exist_ok=True)
    arguments: list[str | Path] = [
        "-source",
        source,
        "-mount",
        mount,
        "-read-ms",
        str(read_ms),
        "-change-ms",
        str(change_ms),
    ]
    pin = ["taskset", "--cpu-list", ",".join(map(str, sorted(cpus)))] if cpus else []
    process = subprocess.Popen(
        # Above what it serves: its latencies must not grow with the load on its core.
        ["nice", "-n", "-10", *pin, program, *arguments, "-until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        ready = process.stdout.readline()
        if not ready:
            process.wait(timeout=10)
            raise EfsError(f"can't mount {source} at {mount}: {process.stderr.read().strip()}")
        yield Efs(mount, json.loads(ready)["control"], process)
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
        _detach(mount)


def _detach(mount: Path) -> None:
    """Takes away what a killed mount has left."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    wanted = str(mount).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    if any(line.split(" ")[1] == wanted for line in mounts.splitlines()):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
