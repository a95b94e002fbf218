"""Health as ECS and the load balancer judge it, only quicker: what is starting is asked several times a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import h11

from local.runner.environment import local_command
from local.runner.exchange import Exchange, TargetFailed
from local.runner.process import run_command
from local.runner.stack import TargetGroup
from local.runner.task_definition import HealthCheck

Health = Literal["starting", "healthy", "unhealthy"]
Probe = Callable[[], Awaitable[str | None]]

_STARTING_INTERVAL = 0.2
# How long a task may take to accept a connection before its health check command is run all the same.
_PORT_PATIENCE = 3.0


class HealthWatch:
    """Asks a probe again and again: None is a good answer, a sentence says what is wrong.

    It is `starting` until `healthy_threshold` good answers in a row, and turns `unhealthy` for good after
    `unhealthy_threshold` bad ones in a row; while it is starting not before `start_budget` seconds are over, the time
    that AWS, which asks each `interval` only, would have given it.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        interval: float,
        healthy_threshold: int,
        unhealthy_threshold: int,
        start_budget: float,
        changed: Callable[[HealthWatch], None],
    ) -> None:
        self.health: Health = "starting"
        self.reason = ""
        self._probe = probe
        self._interval = interval
        self._healthy_threshold = healthy_threshold
        self._unhealthy_threshold = unhealthy_threshold
        self._start_budget = start_budget
        self._changed = changed

    async def run(self) -> None:
        """Until unhealthy, or cancelled."""
        began = time.monotonic()
        good = bad = 0
        while self.health != "unhealthy":
            reason = await self._probe()
            if reason is None:
                good, bad = good + 1, 0
                if self.health == "starting" and good >= self._healthy_threshold:
                    self._turn("healthy")
            else:
                good, bad = 0, bad + 1
                self.reason = reason
                over = self.health == "healthy" or time.monotonic() - began >= self._start_budget
                if over and bad >= self._unhealthy_threshold:
                    self._turn("unhealthy")
            steady = self.health == "healthy"
            await asyncio.sleep(self._interval if steady else min(self._interval, _STARTING_INTERVAL))

    def _turn(self, health: Health) -> None:
        self.health = health
        self._changed(self)


def container_probe(check: HealthCheck, environment: Mapping[str, str], folder: Path, port: int) -> Probe:
    """Runs the check's command beside the task, with its environment, once its port accepts a connection.

    A connection costs nothing and a command often an interpreter's start, which would slow down the very start that is
    waited for.
    """
    kind, *arguments = check.command
    if kind not in ("CMD", "CMD-SHELL"):
        kind, arguments = "CMD", list(check.command)
    command = ["/bin/sh", "-c", arguments[0]] if kind == "CMD-SHELL" else local_command(arguments)
    patience_ends = time.monotonic() + _PORT_PATIENCE

    async def probe() -> str | None:
        if time.monotonic() < patience_ends and not await _accepts(port):
            return f"nothing listens on port {port}"
        try:
            code, output = await run_command(
                command, environment=environment, folder=folder, timeout_seconds=check.timeout
            )
        except OSError as error:
            return f"health check {arguments[0]!r} cannot be run: {error.strerror}"
        return None if code == 0 else f"health check {'timed out' if code is None else f'exited {code}'}: {output}"

    return probe


def target_probe(find_group: Callable[[], TargetGroup], host: str, port: int) -> Probe:
    """Asks the target for its target group's health path."""

    async def probe() -> str | None:
        group = find_group()
        try:
            async with asyncio.timeout(group.health_timeout):
                status = await _get_status(host, port, group.health_path)
        except TimeoutError:
            return f"GET {group.health_path}: no answer within {group.health_timeout:g} s"
        except (OSError, TargetFailed, h11.ProtocolError) as error:
            return f"GET {group.health_path}: {error}"
        return None if status_matches(group.health_matcher, status) else f"GET {group.health_path} answered {status}"

    return probe


def status_matches(matcher: str, status: int) -> bool:
    """Whether a target group's matcher, as `200`, `200,202` or `200-299`, takes a status."""
    for item in matcher.split(","):
        low, _, high = item.strip().partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def _get_status(host: str, port: int, path: str) -> int:
    exchange = await Exchange.open(host, port)
    try:
        headers = [
            (b"host", f"{host}:{port}".encode()),
            (b"user-agent", b"ELB-HealthChecker/2.0"),
            (b"connection", b"close"),
        ]
        await exchange.send_head(b"GET", path.encode(), headers)
        await exchange.send_end()
        return (await exchange.response()).status_code
    finally:
        exchange.close()
