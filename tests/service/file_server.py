"""The API as a process, for tests of its files: how it is configured, what is in its store, what it costs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from service.files import ids
from tests.service.conftest import Aws
from tests.service.harness import LIVENESS_SECONDS, ROOT, Process, wait_until
from tests.service.raw_http import Answer, Connection


def file_env(aws: Aws, files: Path, **changes: object) -> dict[str, str]:
    """The environment of an API over the store ``files``, which is made if it is missing."""
    files.mkdir(exist_ok=True)
    return {
        **aws.env,
        "FILES_DIR": str(files),
        "FILES_AUTH": "none",
        "INBOX_QUEUE_URL": f"{aws.url}/123456789012/none",
        "API_TOKEN_PARAMETER": "/test/api-token",
        "DRAIN_SECONDS": "0",
        "STOP_TIMEOUT_SECONDS": "10",
        **{name: str(value) for name, value in changes.items()},
    }


def listed(port: int, limit: int = 1000) -> Iterator[str]:
    """The id of every file in the listing, page by page."""
    target = f"/arquivos?limit={limit}"
    with Connection(port) as connection:
        while True:
            answer = connection.ask("GET", target)
            assert answer.status == 200, answer
            page: dict[str, Any] = answer.json()
            yield from (name.removesuffix(".txt") for name in page["files"])
            if "next" not in page:
                return
            assert page["files"][-1:] == [page["next"]]
            assert f"after={quote(page['next'])}" not in target, "the cursor does not move on"
            target = f"/arquivos?limit={limit}&after={quote(page['next'])}"


def check_whole(answer: Answer) -> str:
    """Asserts that a download is what its digest says it is; returns the SHA-256 in hex."""
    assert answer.status == 200, answer
    found = hashlib.sha256(answer.body).hexdigest()
    assert answer.headers["etag"] == f'"{found}"'
    assert int(answer.headers["content-length"]) == len(answer.body)
    return found


def parts(files: Path) -> list[Path]:
    return list(files.glob("incoming/*/*"))


def names_on_disk(files: Path) -> set[str]:
    """Every name below the store that is not under ``incoming`` and no directory."""
    found = (path for path in files.rglob("*") if not path.is_dir() and path.parts[len(files.parts)] != "incoming")
    return {path.name for path in found}


def path_of(files: Path, file_id: str) -> Path:
    return files.joinpath(*ids.directory(file_id), file_id)


def sweep(env: dict[str, str], *, min_age: int = 0) -> None:
    """Runs the sweep for parts that were last written ``min_age`` seconds ago or before; it must succeed."""
    full = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env, "SWEEP_MIN_AGE_SECONDS": str(min_age)}
    command = [sys.executable, "-m", "service", "sweep"]
    done = subprocess.run(command, env=full, capture_output=True, timeout=LIVENESS_SECONDS, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)


@dataclass(frozen=True)
class Usage:
    """What a process holds at this moment."""

    descriptors: int
    """Files, sockets and pipes. Directories are not counted: a store may keep some open to reach what is in them."""
    threads: int
    resident_mib: float

    @classmethod
    def of(cls, process: Process) -> Usage:
        folder = Path(f"/proc/{process.popen.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return cls(len(_descriptors(process)), int(status["Threads"]), int(status["VmRSS"].split()[0]) / 1024)


def settled(process: Process, mib: float) -> Usage:
    """What is held once memory is down to ``mib``, or after a while: an allocator gives back what is free in its time."""
    wait_until(lambda: Usage.of(process).resident_mib <= mib, must=False)
    return Usage.of(process)


def assert_nothing_is_kept(process: Process, before: Usage, *, threads: int, mib: float) -> None:
    """Descriptors come back to what they were; at most ``threads`` more threads and ``mib`` more memory stay."""
    wait_until(lambda: Usage.of(process).descriptors <= before.descriptors, must=False)
    after = settled(process, before.resident_mib + mib)
    assert after.descriptors <= before.descriptors, _descriptors(process)
    assert after.threads <= before.threads + threads, (before, after)
    assert after.resident_mib <= before.resident_mib + mib, (before, after)


def _descriptors(process: Process) -> list[str]:
    """What is open and no directory. Asks the kernel alone, since the file system behind it may hang."""
    folder = Path(f"/proc/{process.popen.pid}")
    found, directories = [], 0
    for number in [path.name for path in (folder / "fd").iterdir()]:
        with contextlib.suppress(FileNotFoundError):  # closed since
            flags = (folder / "fdinfo" / number).read_text().split("flags:")[1].split()[0]
            if int(flags, 8) & os.O_DIRECTORY:
                directories += 1
            else:
                found.append(os.readlink(folder / "fd" / number))  # noqa: PTH115  a socket's name is no path
    assert directories < 256
    return sorted(found)


def allow_descriptors(count: int) -> None:
    """Raises this process's limit, which the processes that it starts inherit, as far as it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard >= 0 else count, hard))
