"""Tells what the figures were measured on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from bench import toolchain

_PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "boto3", "fastapi")
_MODULES = ("github.com/gofiber/fiber/v2", "github.com/aws/aws-sdk-go-v2/service/sqs", "github.com/hanwen/go-fuse/v2")


def describe() -> dict[str, str]:
    """Machine and versions, by name."""
    found = {
        "machine": f"{os.cpu_count()} cores of {_cpu()}, {_memory_gib():.0f} GiB",
        "kernel": platform.release(),
        "file system": _file_system(toolchain.LOCAL),
        "Python": platform.python_version(),
        "Go": toolchain.version(),
        "nginx": nginx_version() or "not installed",
    }
    for package in _PACKAGES:
        found[package] = importlib.metadata.version(package)
    pinned = dict(
        line.split()[:2] for line in (toolchain.SOURCES / "go.mod").read_text().splitlines() if line.startswith("\t")
    )
    for module in _MODULES:
        found[module.removeprefix("github.com/")] = pinned[module].removeprefix("v")
    return found


def nginx_version() -> str | None:
    """The version of the nginx on PATH, or None."""
    program = shutil.which("nginx")
    if program is None:
        return None
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system(path: Path) -> str:
    path.mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", path], capture_output=True, text=True
    )
    return answer.stdout.strip() or "unknown"
