"""The sweep: removes what uploads left behind when their process was killed, and verifies stored files if it is told to.

For parts it looks at their directories only, so that takes the same time however many files are stored. A part counts as
abandoned by the time of its last write: a process that still writes it keeps that time fresh.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from service.files.directories import GONE
from service.files.parts import FOLDER
from service.files.verify import verify
from service.settings import SweepSettings
from service.telemetry import logs
from service.telemetry.metrics import Metrics

_log = logging.getLogger("service.sweep")


@dataclass(slots=True)
class Summary:
    removed_parts: int = 0
    removed_bytes: int = 0
    removed_directories: int = 0
    kept_parts: int = 0
    failed: int = 0
    verified_files: int = 0
    verified_bytes: int = 0
    damaged_files: int = 0
    seconds: float = 0.0


def sweep(root: Path, min_age_seconds: float, now: float) -> Summary:
    """Removes parts under ``root`` last written ``min_age_seconds`` or more before ``now``, and empty directories.

    Raises OSError if the store can't be read; a part that can't be removed is counted and the rest goes on.
    """
    summary = Summary()
    oldest_kept = now - min_age_seconds
    if not root.is_dir():
        raise NotADirectoryError(f"not a directory: {root}")
    try:
        directories = _entries(root / FOLDER)
    except FileNotFoundError:
        directories = []  # no upload so far
    for directory in directories:
        try:
            if not directory.is_dir(follow_symlinks=False):
                continue
            # Before its parts are removed: that changes the directory's own time.
            idle = directory.stat(follow_symlinks=False).st_mtime <= oldest_kept
            parts = _entries(directory)
        except OSError as error:
            if error.errno not in GONE:
                raise
            continue  # another sweep has just removed it
        kept = summary.kept_parts + summary.failed
        for part in parts:
            _sweep_part(part, oldest_kept, summary)
        if idle and kept == summary.kept_parts + summary.failed:
            # A process that began a part just now keeps its directory: it isn't empty then.
            with contextlib.suppress(OSError):
                Path(directory.path).rmdir()
                summary.removed_directories += 1
    return summary


def _sweep_part(part: os.DirEntry[str], oldest_kept: float, summary: Summary) -> None:
    try:
        status = part.stat(follow_symlinks=False)
        if status.st_mtime > oldest_kept:
            summary.kept_parts += 1
            return
        Path(part.path).unlink()
    except OSError as error:
        if error.errno in GONE:
            return  # its upload has just ended
        _log.warning("a part can't be removed", extra={"fields": {"part": part.path, "reason": str(error)}})
        summary.failed += 1
        return
    summary.removed_parts += 1
    summary.removed_bytes += status.st_size


def _entries(directory: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def run_sweep(settings: SweepSettings) -> int:
    """Sweeps once. Returns the exit code: 0, or 1 if anything was left undone or a file is damaged."""
    lines = logs.configure(settings.log_level)
    metrics = Metrics("sweep", namespace=settings.metrics_namespace)
    code = sweep_and_log(settings.files_dir, settings.min_age_seconds, settings.verify_bytes, metrics)
    for line in metrics.lines():
        lines.write(line)
    return code


def sweep_and_log(root: Path, min_age_seconds: float, verify_bytes: int = 0, metrics: Metrics | None = None) -> int:
    """Sweeps once and logs what it did, as an error if there is a reason to exit with 1. Returns the exit code.

    ``verify_bytes`` is how much to verify, 0 for nothing; what came of it is counted in ``metrics`` too.
    """
    began = time.monotonic()
    try:
        summary = sweep(root, min_age_seconds, time.time())
        if verify_bytes:
            found = verify(root, verify_bytes)
            summary.verified_files, summary.verified_bytes = found.files, found.bytes
            summary.damaged_files = found.damaged
            summary.failed += found.unreadable
            if metrics is not None:
                metrics.add("VerifiedFiles", found.files)
                metrics.add("VerifiedBytes", found.bytes)
                metrics.add("DamagedFiles", found.damaged)
    except OSError as error:
        _log.error("sweep failed", extra={"fields": {"reason": str(error)}})
        return 1
    summary.seconds = round(time.monotonic() - began, 3)
    code = 1 if summary.failed or summary.damaged_files else 0
    _log.log(logging.ERROR if code else logging.INFO, "swept", extra={"fields": asdict(summary)})
    return code
