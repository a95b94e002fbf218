"""Killed at any instant, a store holds the whole file or none of it.

Three views of the same promise: a real process under load is killed again and again at instants nobody chose; one
upload is killed at every single step that it takes on the file system; and the recorded order of those steps is held
against what a disk may forget when the power fails, which no kill can show.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.files import ids
from service.files.record import SIZE
from service.files.store import FileStore
from service.files.sweep import sweep as sweep_store
from tests.service.conftest import Aws
from tests.service.crash_steps import SYNCS, WRITES
from tests.service.file_server import check_whole, file_env, listed, parts, sweep
from tests.service.harness import LIVENESS_SECONDS, ROOT, started
from tests.service.raw_http import Connection, head, read_answer

CLIENTS = 16
STEP_CONTENT_BYTES = 300_000


@dataclass
class _Load:
    """Clients that upload one thing after another until their connection breaks."""

    random: random.Random
    begun: dict[str, int] = field(default_factory=dict)
    """SHA-256 of each content that was ever offered, with its size."""
    stored: dict[str, str] = field(default_factory=dict)
    """Id and SHA-256 of each upload that was answered 201."""
    cut: int = 0

    async def until_killed(self, port: int, kill: Callable[[], None]) -> None:
        at_work = len(self.stored) + CLIENTS
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._client(port, number))
            while len(self.stored) < at_work:
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.random.uniform(0, 0.3))
            kill()

    async def _client(self, port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await self._upload(reader, writer, large=number % 2 == 0)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _upload(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, large: bool) -> None:
        content = self.random.randbytes(self.random.choice((300_000, 2 * 1024 * 1024) if large else (0, 1, 20_000)))
        content = content[: self.random.randint(0, len(content))] + os.urandom(8 if content else 0)
        digest = hashlib.sha256(content).hexdigest()
        pause = self.random.choice((0, 0, 0.001, 0.01))
        piece = max(1, len(content) // self.random.randint(1, 20))
        self.begun[digest] = len(content)
        self.cut += 1
        writer.write(head("POST", "/arquivos", len(content)))
        for start in range(0, len(content), piece):
            writer.write(content[start : start + piece])
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)
        answer = await read_answer(reader)
        assert answer.status == 201, answer
        self.cut -= 1
        self.stored[answer.json()["id"]] = digest


@pytest.mark.parametrize("instants", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_killed_at_200_random_instants_a_store_holds_whole_files_or_nothing(
    aws: Aws, tmp_path: Path, instants: int
) -> None:
    """An instant is an upload that was cut: begun, and not answered when SIGKILL ended the process.

    The sixteen clients of a round stand in as many places at that moment, from the first byte of a head to the answer.
    """
    load = _Load(random.Random(4))
    env = file_env(aws, tmp_path / "files")
    checked: set[str] = set()
    left: set[Path] = set()  # by an upload that was cut while it was being written
    while load.cut < instants or not left:
        with started("api", env, tmp_path / "log", measure=False) as server:
            _check(server.port, load, checked)
            asyncio.run(asyncio.wait_for(load.until_killed(server.port, server.popen.kill), LIVENESS_SECONDS))
            assert server.popen.wait(LIVENESS_SECONDS) < 0
        left |= {part for part in parts(tmp_path / "files") if part.stat().st_size}
    assert len(load.stored) > instants, "hardly an upload ever got to its end"
    sweep(env)
    assert parts(tmp_path / "files") == []
    with started("api", env, tmp_path / "log", measure=False) as server:
        _check(server.port, load, checked)


def _check(port: int, load: _Load, checked: set[str]) -> None:
    """Every upload that was answered is listed once, and every file that is listed is one that was sent, whole."""
    found = list(listed(port))
    assert found == sorted(set(found))
    assert set(load.stored) <= set(found)
    with Connection(port) as connection:
        for file_id in found:
            if file_id not in checked:
                digest = check_whole(connection.ask("GET", f"/arquivos/{file_id}"))
                assert digest in load.begun
                assert load.stored.get(file_id, digest) == digest
                checked.add(file_id)


def _steps(folder: Path, *deaths: str) -> Any:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.service.crash_steps", str(folder), str(STEP_CONTENT_BYTES), *deaths]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, timeout=LIVENESS_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _trace(store: Path) -> list[dict[str, Any]]:
    trace: list[dict[str, Any]] = _steps(store)
    return trace


def _named_at(trace: list[dict[str, Any]]) -> int:
    """The step that gives the file its name."""
    (step,) = (number for number, step in enumerate(trace) if step["call"] in ("rename", "replace", "link"))
    return step


def test_killed_at_each_step_of_an_upload_a_store_holds_the_whole_file_or_nothing(tmp_path: Path) -> None:
    trace = _trace(tmp_path / "trace")
    named = _named_at(trace)
    deaths = {f"{number}-before": number for number, step in enumerate(trace) if step["call"] != "answer"}
    deaths |= {f"{number}-half": number for number, step in enumerate(trace) if step["call"] == "write"}
    assert len(deaths) > 15
    ends = _steps(tmp_path / "deaths", *deaths)
    for (death, number), end in zip(deaths.items(), ends, strict=True):
        assert end == -signal.SIGKILL, (trace[number], death)
        _check_store(tmp_path / "deaths" / death, files=0 if number <= named else 1)


def _check_store(root: Path, *, files: int) -> None:
    store = FileStore(root)
    found = store.page(None, 10)
    assert len(found) == files
    for file_id in found:
        with store.open(file_id, read_all_up_to=STEP_CONTENT_BYTES) as file:
            assert file.content is not None
            assert hashlib.sha256(file.content).hexdigest() == file.record.sha256
            assert len(file.content) == STEP_CONTENT_BYTES
    summary = sweep_store(root, 0, time.time() + 1)
    assert summary.failed == 0
    assert parts(root) == []
    assert store.page(None, 10) == found
    store.prepare()
    part = store.begin("text/plain")
    assert part.publish([b"after"]).file_id in store.page(None, 10)
    part.discard()


def test_a_power_cut_at_any_step_can_neither_show_a_torn_file_nor_lose_an_answered_one(tmp_path: Path) -> None:
    """Replays the steps on a disk as forgetful as POSIX allows: what is not synced may be lost, or may stay."""
    root = tmp_path / "files"
    way = _replay(_trace(root), set())
    assert len(way) == 3  # the file and its two directories


def test_a_power_cut_loses_no_answered_file_whose_directories_another_process_has_just_made(tmp_path: Path) -> None:
    """That process may be about to sync them, or may be dead: who answers first can't rely on it."""
    root = tmp_path / "files"
    others = [root.joinpath(*ids.directory(ids.IdSource().next())[:depth]) for depth in (1, 2)]
    for path in others:
        path.mkdir(parents=True)
    assert set(others) <= set(_replay(_trace(root), {str(path) for path in others}))


def _replay(trace: list[dict[str, Any]], made: set[str]) -> list[Path]:
    """Asserts that no power cut does harm; ``made`` are names that are not durable yet. Returns the file's way."""
    written: dict[str, int] = {}
    synced: dict[str, int] = {}
    entries: set[str] = set()  # names whose directory has been synced since they were made
    name = ""
    for step in trace:
        call, paths = step["call"], step["paths"]
        if call == "answer":
            break
        if call in WRITES:
            written[paths[0]] = written.get(paths[0], 0) + step["bytes"]
        elif call in SYNCS and paths[0] in written:
            synced[paths[0]] = written[paths[0]]
        elif call in SYNCS:
            entries |= {path for path in made if str(Path(path).parent) == paths[0]}
        elif call == "mkdir":
            made.add(paths[0])
        elif call in ("rename", "replace", "link"):
            part, name = paths
            # From here on the name may be on the disk, so everything behind it must be.
            assert written[part] == STEP_CONTENT_BYTES + SIZE
            assert synced.get(part) == written[part], "a name was given to content that was not synced"
            made.add(name)
    assert name, "the upload ended without a name"
    # Answered: now the way to the file must be on the disk too, every directory that was made for it included.
    way = [path for path in (Path(name), *Path(name).parents) if str(path) in made]
    assert {str(path) for path in way} <= entries, f"not synced when the upload was answered: {made - entries}"
    return way
