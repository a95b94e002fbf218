from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from local.control import ControlServer, NoSession, Session, announce
from local.deployment import Resources


async def outcome(apply: Callable[..., object], *, secret: str | None = None) -> tuple[str | None, list[str]]:
    server = ControlServer(apply)  # type: ignore[arg-type]
    port = await server.start()
    lines: list[str] = []
    session = Session(os.getpid(), port, secret or server.secret, "http://127.0.0.1:1", 8080)
    try:
        return await announce(session, [{"type": "t", "text": "x" * 200_000}], lines.append), lines
    finally:
        server.stop()


def test_progress_and_success_come_back() -> None:
    async def apply(resources: Resources, report: Callable[[str], None]) -> None:
        report(f"{len(resources)} resource of type {resources[0]['type']}")

    assert asyncio.run(outcome(apply)) == (None, ["1 resource of type t"])


def test_a_failure_comes_back() -> None:
    async def apply(resources: Resources, report: Callable[[str], None]) -> str:
        return "api was rolled back"

    assert asyncio.run(outcome(apply)) == ("api was rolled back", [])


def test_who_does_not_know_the_secret_gets_nothing() -> None:
    called = False

    async def apply(resources: Resources, report: Callable[[str], None]) -> None:
        nonlocal called
        called = True

    with pytest.raises(NoSession, match="ended before"):
        asyncio.run(outcome(apply, secret="wrong"))
    assert not called


def test_a_session_is_found_while_its_process_lives(tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    with pytest.raises(NoSession, match="make up"):
        Session.read(file)
    session = Session(os.getpid(), 1, "secret", "http://127.0.0.1:2", 3)
    session.write(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert Session.read(file) == session
    # No process has this id: it is beyond the kernel's largest.
    Session(2**22 + 1, 1, "secret", "http://127.0.0.1:2", 3).write(file)
    with pytest.raises(NoSession, match="make up"):
        Session.read(file)
