"""The runner: brings the services of a deployed stack up on this machine, and keeps them as it was deployed."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from local.runner.balancer import Balancer
from local.runner.credentials import CredentialsEndpoint
from local.runner.host import Host
from local.runner.ports import Cloud, ImageStore, RunnerError
from local.runner.process import end_leftovers
from local.runner.rollout import Failure, Rollout, ServiceStatus
from local.runner.schedules import ScheduleKeeper
from local.runner.service import ServiceKeeper
from local.runner.stack import Listener, Stack, read_stack


class Runner:
    """Plays ECS for one stack.

    `folder` holds what outlives a run (`efs/`, `logs/`) and the records of what runs (`tasks/`); one runner uses it at
    a time. `port` is the load balancer's, on 127.0.0.1 and ::1; 0 takes any free one. `report` gets short lines for a
    human.
    """

    def __init__(
        self, *, aws: Cloud, images: ImageStore, folder: Path, port: int, report: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._balancer = Balancer(port)
        self._credentials = CredentialsEndpoint(aws)
        self._host = Host(aws, images, folder, self._balancer, self._credentials, report)
        self._schedules = ScheduleKeeper(self._host)
        self._services: dict[str, ServiceKeeper] = {}
        self._stack = Stack.empty()
        self._applying = asyncio.Lock()
        self._lock: IO[str] | None = None

    @property
    def port(self) -> int:
        """The load balancer's port, known once started."""
        return self._balancer.port

    async def start(self) -> None:
        """Ends what a killed runner left, binds the load balancer's port (503 until a listener is deployed).

        Raises RunnerError when the port is taken or another runner uses the folder.
        """
        self._lock = _lock(self._folder)
        try:
            ended = end_leftovers(self._folder / "tasks")
            if ended:
                self._host.report(f"ended {ended} task(s) that a killed runner left behind")
            await self._balancer.start()
            await self._credentials.start()
            await self._host.agent.start()
        except BaseException:
            await self._balancer.stop(0)
            self._unlock()
            raise

    async def apply(self, resources: Sequence[Mapping[str, Any]]) -> Rollout:
        """Converges to the deployed stack (`deployment.resources` of `pulumi stack export`).

        Returns when every service is stable, rolled back or failed. Raises RunnerError, and changes nothing, when the
        resources hold something that cannot be played.
        """
        async with self._applying:
            stack = read_stack(resources)
            missing = _missing_groups(stack)
            if missing:
                raise RunnerError(
                    f"target groups are named but not deployed: {', '.join(missing)}; deploy the stack again"
                )
            self._schedules.follow(stack.schedules)
            self._stack = stack
            self._host.target_groups.update(stack.target_groups)
            self._host.agent.policies = stack.policies
            listener = self._choose_listener(stack.listeners)
            # Until the new target groups have healthy tasks, the former ones still answer.
            self._balancer.forward_to([*listener.target_group_arns, *self._balancer.route] if listener else [])
            failures = await self._deploy(stack)
            if listener:
                self._balancer.forward_to(listener.target_group_arns)
            await self._remove([arn for arn in self._services if arn not in stack.services])
            return Rollout(failures)

    async def run_once(self, name: str) -> int | None:
        """Runs the task of a schedule now, and returns its exit code. Raises RunnerError for an unknown name."""
        return await self._schedules.run_once(name)

    def status(self) -> Sequence[ServiceStatus]:
        return [keeper.status() for keeper in self._services.values()]

    async def stop(self) -> None:
        """Requests in flight end, then the tasks: SIGTERM, the stop timeout, SIGKILL. Cancelled, it kills at once."""
        delays = [group.deregistration_delay for group in self._stack.target_groups.values()]
        try:
            await self._balancer.stop(max(delays, default=0))
            await self._stop_tasks()
        except BaseException:
            for keeper in self._services.values():
                keeper.kill()
            self._schedules.kill()
            await self._stop_tasks()
            raise
        finally:
            await self._credentials.stop()
            await self._host.agent.stop()
            self._unlock()

    async def _stop_tasks(self) -> None:
        await asyncio.gather(*(keeper.stop() for keeper in self._services.values()), self._schedules.stop())

    async def _deploy(self, stack: Stack) -> list[Failure]:
        keepers = []
        for arn, service in stack.services.items():
            keeper = self._services.get(arn)
            if keeper is None:
                keeper = self._services[arn] = ServiceKeeper(self._host, service)
            keeper.deploy(service)
            keepers.append(keeper)
        outcomes = await asyncio.gather(*(keeper.settled() for keeper in keepers))
        return [failure for failure in outcomes if failure]

    async def _remove(self, arns: Sequence[str]) -> None:
        removed = [self._services[arn] for arn in arns]
        await asyncio.gather(*(keeper.stop() for keeper in removed))
        for arn in arns:
            del self._services[arn]

    def _choose_listener(self, listeners: Sequence[Listener]) -> Listener | None:
        """One port here, so one listener: the HTTPS one where there is one."""
        ranked = sorted(listeners, key=lambda listener: (listener.protocol != "HTTPS", listener.port))
        for other in ranked[1:]:
            self._host.report(f"listener on port {other.port} ({other.protocol}) is not played: only one is")
        return ranked[0] if ranked else None

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None


def _missing_groups(stack: Stack) -> list[str]:
    named = {arn for service in stack.services.values() for arn in service.target_group_arns}
    named |= {arn for listener in stack.listeners for arn in listener.target_group_arns}
    return sorted(named - set(stack.target_groups))


def _lock(folder: Path) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "runner.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise RunnerError(f"another runner uses {folder}: stop it first") from error
    return lock
