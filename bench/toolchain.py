"""Builds the programs in ``bench/go`` into ``.local/bench/bin``, each again only when a source has changed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local" / "bench"
SOURCES = Path(__file__).resolve().parent / "go"
# -mod=readonly: what go.sum has not pinned is not built. -buildvcs=false: the sources need not lie in a repository.
_FLAGS = "-mod=readonly -buildvcs=false"


class BuildFailed(Exception):
    """A Go program could not be built; the message has the compiler's own words."""


def missing() -> str | None:
    """Why nothing can be built here, or None."""
    return None if shutil.which("go") else "the Go toolchain is not on PATH"


def build(name: str) -> Path:
    """The program of ``bench/go/cmd/<name>``. Raises BuildFailed. Safe to call from several processes at once."""
    if (reason := missing()) is not None:
        raise BuildFailed(f"{name} can't be built: {reason}")
    target = LOCAL / "bin" / name
    stamp = target.with_suffix(".stamp")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = _digest(name)
        if target.is_file() and stamp.is_file() and stamp.read_text() == wanted:
            return target
        # Never over a program that runs: "text file busy".
        fresh = target.with_suffix(".new")
        built = subprocess.run(
            ["go", "build", "-o", fresh, f"./cmd/{name}"],
            cwd=SOURCES,
            env=os.environ | {"GOFLAGS": _FLAGS},
            capture_output=True,
            text=True,
        )
        if built.returncode != 0:
            raise BuildFailed(f"go build ./cmd/{name} failed:\n{built.stderr.strip()}")
        fresh.replace(target)
        stamp.write_text(wanted)
    return target


def version() -> str:
    """Go's version, such as ``1.26.8``."""
    answer = subprocess.run(["go", "env", "GOVERSION"], cwd=SOURCES, capture_output=True, text=True, check=True)
    return answer.stdout.strip().removeprefix("go")


def _digest(name: str) -> str:
    digest = hashlib.sha256(_FLAGS.encode())
    files = [
        SOURCES / "go.mod",
        SOURCES / "go.sum",
        *SOURCES.glob(f"cmd/{name}/*.go"),
        *SOURCES.glob("internal/**/*.go"),
    ]
    for file in sorted(files):
        digest.update(f"{file.relative_to(SOURCES)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
