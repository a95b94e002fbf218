"""One task: from resolved secrets to a healthy process behind the load balancer, and back to nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from local.runner.agent import Registration
from local.runner.balancer import Target
from local.runner.credentials import Grant
from local.runner.environment import base_environment, local_command, mounted_folder, task_environment
from local.runner.health import HealthWatch, container_probe, target_probe
from local.runner.host import Host
from local.runner.ports import RunnerError
from local.runner.process import Process
from local.runner.stack import TargetGroup
from local.runner.task_definition import TaskDefinition

TaskState = Literal["pending", "running", "stopping", "stopped"]

# A task that nothing checks counts as healthy once it has stayed alive for this long.
_SETTLE_SECONDS = 1.0
_KEPT_LOGS = 20
_TAIL_LINES = 20


@dataclass(frozen=True)
class Stopped:
    """Why a task ended. `exit_code` is None when its process never began; `asked` when the runner wanted its end."""

    reason: str
    exit_code: int | None
    asked: bool

    def __str__(self) -> str:
        exited = "" if self.exit_code is None else f"exited {self.exit_code}"
        return ": ".join(filter(None, [exited, self.reason]))


class Task:
    """Begins with `start`; ends by itself or by `stop`; `changed` is called at each turn in between.

    `group` names the folder of its log, `service_arn` the service that it is one of, if there is one. `checked` is False
    for a task that runs to its end, as a schedule's does.
    """

    def __init__(
        self,
        host: Host,
        definition: TaskDefinition,
        group: str,
        *,
        service_arn: str = "",
        target_group_arns: Sequence[str] = (),
        grace_period: float = 0,
        checked: bool = True,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = secrets.token_hex(4)
        self.definition = definition
        self.state: TaskState = "pending"
        self.stopped: Stopped | None = None
        self.log = host.folder / "logs" / group / f"{self.id}.log"
        self._host = host
        self._arn = _task_arn(service_arn, self.id)
        self._registration: Registration | None = None
        self._target_group_arns = tuple(target_group_arns)
        self._grace_period = grace_period
        self._checked = checked
        self._changed = changed
        self._process: Process | None = None
        self._targets: list[tuple[str, Target]] = []
        self._watches: list[HealthWatch] = []
        self._running_since = 0.0
        self._healthy_since: float | None = None
        self._stop_asked = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return self.state == "running" and self._healthy_since is not None

    @property
    def active(self) -> bool:
        """Pending or running: what ECS counts against a service's maximum."""
        return self.state in ("pending", "running")

    @property
    def protected(self) -> bool:
        """Whether it has asked not to be stopped by a scale-in."""
        return self._registration is not None and self._registration.protected

    @property
    def healthy_seconds(self) -> float:
        """How long it has been healthy, or was until it stopped."""
        return 0.0 if self._healthy_since is None else time.monotonic() - self._healthy_since

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._life = asyncio.create_task(self._live(), name=f"task {self.id}")

    def stop(self) -> None:
        """Drains and stops it; `finished` waits for the end."""
        if self.active:
            self.state = "stopping"
            self._stop_asked.set()

    async def finished(self) -> Stopped:
        assert self._life is not None, "the task was never started"
        await asyncio.shield(self._life)
        assert self.stopped is not None
        return self.stopped

    def kill(self) -> None:
        """SIGKILL at once, with no drain."""
        self.stop()
        if self._process:
            self._process.kill()

    def log_tail(self) -> str:
        """The last lines that it printed."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - 8192))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_TAIL_LINES:])

    async def _live(self) -> None:
        port = grant = None
        try:
            port = self._host.take_port()
            if self.definition.task_role_arn:
                grant = self._host.credentials.grant(self.definition.task_role_arn)
            self._registration = self._host.agent.register(self._arn, self.definition.task_role_arn)
            environment, command, folder = await self._prepare(port, grant, self._registration)
            if self._stop_asked.is_set():
                self.stopped = Stopped("stopped before it began", None, asked=True)
                return
            records = self._host.folder / "tasks"
            process = await Process.spawn(
                command, environment=environment, folder=folder, output=self.log, record=records / f"{self.id}.json"
            )
            self._process = process
            self.stopped = await self._run(process, environment, folder, port)
        except Exception as error:
            self.stopped = Stopped(f"could not be started: {error}", None, asked=self._stop_asked.is_set())
        finally:
            if grant:
                self._host.credentials.revoke(grant)
            if self._registration:
                self._host.agent.forget(self._registration)
            if port:
                self._host.return_port(port)
            self.stopped = self.stopped or Stopped("cut short", None, asked=True)
            self.state = "stopped"
            self._changed()

    async def _prepare(
        self, port: int, grant: Grant | None, registration: Registration
    ) -> tuple[dict[str, str], list[str], Path]:
        definition, host = self.definition, self._host
        image = host.images.find(definition.image)
        resolved = await self._resolve_secrets()
        mounts = {mount.container_path: mounted_folder(host.folder, mount) for mount in definition.mounts}
        cloud = {"AWS_ENDPOINT_URL": host.cloud.endpoint_url, "AWS_REGION": host.cloud.region}
        environment = task_environment(
            definition,
            image,
            base=base_environment(host.caller_environment),
            mounts=mounts,
            secrets=resolved,
            port=port,
            cloud={**cloud, **registration.environment, **(grant.environment if grant else {})},
        )
        command = local_command([*(definition.entrypoint or image.entrypoint), *definition.command])
        _prune_logs(self.log.parent)
        return environment, command, image.path

    async def _resolve_secrets(self) -> dict[str, str]:
        """As ECS does: with the execution role, before the container starts."""
        if not self.definition.secrets:
            return {}
        role = self.definition.execution_role_arn
        if role is None:
            raise RunnerError("it has secrets, and its definition has no execution role to read them with")
        credentials = await self._host.cloud.credentials(role)
        values = {}
        for name, reference in self.definition.secrets.items():
            try:
                values[name] = await self._host.cloud.parameter(reference, credentials)
            except (PermissionError, LookupError) as error:
                raise RunnerError(f"secret {name} ({reference}) cannot be read by {role}: {error}") from error
        return values

    async def _run(self, process: Process, environment: dict[str, str], folder: Path, port: int) -> Stopped:
        if self.active:
            self.state = "running"
        self._running_since = time.monotonic()
        exited = asyncio.create_task(process.wait())
        asked = asyncio.create_task(self._stop_asked.wait())
        watching = self._watch(environment, folder, port) if self._checked else []
        self._changed()
        try:
            await asyncio.wait([exited, asked, *watching], return_when=asyncio.FIRST_COMPLETED)
            asked_for = self._stop_asked.is_set()
            reason = next((watch.reason for watch in self._watches if watch.health == "unhealthy"), "")
            crashed = [task for task in watching if task.done() and task.exception()]
            if not exited.done():
                self.state = "stopping"
                await self._drain(exited)
                await process.stop(self.definition.stop_timeout)
            code = await exited
            if crashed:
                reason = f"its health could not be checked: {crashed[0].exception()}"
            return Stopped(reason, code, asked_for)
        finally:
            for background in (asked, *watching):
                background.cancel()
            await asyncio.gather(asked, *watching, return_exceptions=True)
            for arn, target in self._targets:
                self._host.balancer.deregister(arn, target)
            process.kill()
            exited.cancel()

    def _watch(self, environment: dict[str, str], folder: Path, port: int) -> list[asyncio.Task[None]]:
        check = self.definition.health_check
        if check:
            self._watches.append(
                HealthWatch(
                    container_probe(check, environment, folder, port),
                    interval=check.interval,
                    healthy_threshold=1,
                    unhealthy_threshold=check.retries,
                    start_budget=max(check.start_budget, self._grace_period),
                    changed=lambda watch: self._judge(),
                )
            )
        for arn in self._target_group_arns:
            target = Target("127.0.0.1", port)
            self._targets.append((arn, target))
            self._host.balancer.register(arn, target)
            self._watches.append(self._watch_target(arn, target))
        watching = [asyncio.create_task(watch.run()) for watch in self._watches]
        if not watching:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._judge)
        return watching

    def _watch_target(self, arn: str, target: Target) -> HealthWatch:
        def changed(watch: HealthWatch) -> None:
            target.healthy = watch.health == "healthy"
            self._judge()

        group = self._find_group(arn)
        return HealthWatch(
            target_probe(partial(self._find_group, arn), target.host, target.port),
            interval=group.health_interval,
            healthy_threshold=group.healthy_threshold,
            unhealthy_threshold=group.unhealthy_threshold,
            start_budget=max(group.health_interval * group.unhealthy_threshold, self._grace_period),
            changed=changed,
        )

    def _find_group(self, arn: str) -> TargetGroup:
        return self._host.target_groups[arn]

    def _judge(self) -> None:
        if self._healthy_since is None and all(watch.health == "healthy" for watch in self._watches):
            self._healthy_since = time.monotonic()
        self._changed()

    async def _drain(self, exited: asyncio.Task[int]) -> None:
        """Out of the load balancer first: ECS deregisters a task's targets before it sends SIGTERM.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html (DEACTIVATING)
        """
        for arn, target in self._targets:
            self._host.balancer.deregister(arn, target)

        async def all_drained() -> None:
            for arn, target in self._targets:
                await target.drained(self._find_group(arn).deregistration_delay)

        draining: asyncio.Task[Any] = asyncio.create_task(all_drained())
        await asyncio.wait({draining, exited}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)


def _task_arn(service_arn: str, task_id: str) -> str:
    """`…:task/<cluster>/<id>` for a task of the service `…:service/<cluster>/<name>`; empty for one of no service."""
    return f"{service_arn.replace(':service/', ':task/', 1).rpartition('/')[0]}/{task_id}" if service_arn else ""


def _prune_logs(folder: Path) -> None:
    if not folder.is_dir():
        return
    logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
    for log in logs[: -_KEPT_LOGS + 1]:
        log.unlink(missing_ok=True)
