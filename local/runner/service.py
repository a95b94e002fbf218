"""One ECS service: keeps its count of tasks, and rolls them when its definition changes.

Scheduling rules: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time

from local.runner.deployment import Deployment
from local.runner.host import Host
from local.runner.rollout import DeploymentState, Failure, ServiceStatus
from local.runner.stack import Service
from local.runner.task import Task

_FIRST_DELAY = 0.2
_LAST_DELAY = 30.0
# A task that was healthy for this long did not fail to start: the next restart is quick again.
_STABLE_SECONDS = 10.0


class ServiceKeeper:
    """Works in the background from `deploy` until `stop`."""

    def __init__(self, host: Host, service: Service) -> None:
        self._host = host
        self._name = service.name
        self._primary = Deployment(service)
        self._former: Deployment | None = None
        self._old: list[Deployment] = []
        self._failure: Failure | None = None
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._restarts = 0
        self._not_before = 0.0
        self._stopping = False
        self._work: asyncio.Task[None] | None = None

    def deploy(self, service: Service) -> None:
        """Makes `service` what is wanted; `settled` waits for it.

        A change of the task definition or the target groups is a new deployment; any other only changes the count.
        """
        self._failure = None
        self._settled.clear()
        if self._work is None:
            self._host.report(f"{self._name}: starting {_tasks(service.desired_count)}")
            self._work = asyncio.create_task(self._keep(), name=f"service {self._name}")
        elif self._primary.halted or not self._primary.runs(service):
            self._host.report(
                f"{self._name}: rolling to {service.task_definition.family}:{service.task_definition.revision}"
            )
            if self._primary.completed:
                self._former = self._primary
            self._old.append(self._primary)
            self._primary = Deployment(service)
            self._restarts, self._not_before = 0, 0.0
        else:
            self._primary.service = service
            self._primary.failures = 0
        self._wake.set()

    async def settled(self) -> Failure | None:
        """Waits until the service is stable, or has failed to become so: then says why."""
        assert self._work is not None, "the service was never deployed"
        waiting = asyncio.create_task(self._settled.wait())
        await asyncio.wait([waiting, self._work], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            self._work.result()
        return self._failure

    async def stop(self) -> None:
        """Drains and stops every task."""
        self._stopping = True
        self._wake.set()
        if self._work:
            await asyncio.shield(self._work)

    def kill(self) -> None:
        """SIGKILL to every task."""
        self._stopping = True
        for task in self._all_tasks():
            task.kill()
        self._wake.set()

    @property
    def tasks(self) -> list[Task]:
        """The tasks that are not stopped, of the newest deployment first."""
        return self._all_tasks()

    def status(self) -> ServiceStatus:
        tasks = self._all_tasks()
        return ServiceStatus(
            service=self._name,
            desired=0 if self._stopping else self._primary.service.desired_count,
            running=sum(task.state == "running" for task in tasks),
            healthy=sum(task.healthy for task in tasks),
            state=self._state(),
        )

    def _state(self) -> DeploymentState:
        if self._stopping:
            return "draining"
        if self._failure:
            return "rolled back" if self._failure.rolled_back else "failed"
        return "steady" if self._settled.is_set() else "rolling"

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            self._bury()
            # One reading of the clock: a delay that ends between two readings would be neither over nor waited for.
            delay = self._not_before - time.monotonic()
            if self._stopping:
                for task in self._all_tasks():
                    task.stop()
                if not self._all_tasks():
                    self._settled.set()
                    return
            else:
                self._judge()
                if delay <= 0:
                    self._start_missing()
                self._stop_surplus()
                self._conclude()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay if delay > 0 else None):
                    await self._wake.wait()

    def _bury(self) -> None:
        """Takes the stopped tasks out, and counts those that nobody asked to stop."""
        for deployment in [self._primary, *self._old]:
            for task in [task for task in deployment.tasks if task.stopped]:
                deployment.tasks.remove(task)
                if task.stopped and not task.stopped.asked and not self._stopping:
                    self._mourn(deployment, task)
        self._old = [deployment for deployment in self._old if deployment.tasks]

    def _mourn(self, deployment: Deployment, task: Task) -> None:
        deployment.record_failure(task)
        if deployment is not self._primary:
            self._host.report(f"{self._name}: task {task.id} {task.stopped}")
            return
        if task.healthy_seconds >= _STABLE_SECONDS:
            self._restarts = 0
        delay = min(_FIRST_DELAY * 2**self._restarts, _LAST_DELAY)
        self._restarts = min(self._restarts + 1, 10)
        self._not_before = time.monotonic() + delay
        self._host.report(f"{self._name}: task {task.id} {task.stopped}, restarting in {delay:.1f} s")

    def _judge(self) -> None:
        """The circuit breaker. Without one ECS tries for ever; here the trying goes on too, but is called failed."""
        primary, service = self._primary, self._primary.service
        failed = primary.failures >= _failure_threshold(service.desired_count)
        if self._settled.is_set():
            return
        if self._failure:
            if failed:
                self._settled.set()  # what was rolled back to fails as well, and is tried on
            return
        stuck = bool(self._old) and _maximum(service) == _minimum(service) == service.desired_count
        if stuck:
            reason = (
                f"{service.minimum_healthy_percent} % minimum healthy and {service.maximum_percent} % maximum of "
                f"{_tasks(service.desired_count)} leave no room to replace one: raise the maximum percent"
            )
        elif failed:
            reason = f"{_tasks(primary.failures)} failed to start or to become healthy"
        else:
            return
        give_up = not primary.completed and (stuck or service.circuit_breaker)
        rolled_back = give_up and self._former is not None
        self._failure = primary.failure(self._name, reason, rolled_back=rolled_back)
        self._host.report(f"{self._name}: {reason}" + (", rolling back" if rolled_back else ""))
        if give_up:
            self._abandon_primary()
        if not rolled_back:
            self._settled.set()

    def _abandon_primary(self) -> None:
        abandoned = self._primary
        abandoned.halted = True
        if self._former:
            self._primary, self._former = self._former, None
            self._primary.failures = 0
            self._old = [d for d in [*self._old, abandoned] if d is not self._primary]
            self._restarts, self._not_before = 0, 0.0

    def _start_missing(self) -> None:
        primary, service = self._primary, self._primary.service
        if primary.halted:
            return
        room = _maximum(service) - sum(task.active for task in self._all_tasks())
        for _ in range(min(service.desired_count - len(primary.active), room)):
            task = Task(
                self._host,
                service.task_definition,
                self._name,
                service_arn=service.arn,
                target_group_arns=service.target_group_arns,
                grace_period=service.health_check_grace_period,
                changed=self._wake.set,
            )
            primary.tasks.append(task)
            task.start()

    def _stop_surplus(self) -> None:
        for deployment in [self._primary, *self._old]:
            if deployment.halted:
                for task in deployment.active:
                    task.stop()
        if self._primary.halted:
            return
        primary, desired = self._primary, self._primary.service.desired_count
        old = [task for deployment in self._old for task in deployment.active]
        surplus = len(old) - max(0, desired - len(primary.healthy))
        # With no room above the desired count an old task makes way first, as far as the minimum allows.
        missing = desired - len(primary.active)
        room = _maximum(primary.service) - len(primary.active) - len(old)
        surplus = max(surplus, missing - room)
        self._stop_some(old, surplus)
        self._stop_some(primary.active, len(primary.active) - desired)

    def _stop_some(self, tasks: list[Task], count: int) -> None:
        """Stops up to `count` tasks, unhealthy ones first and protected ones last, and never below the minimum of healthy
        ones."""
        spare = sum(task.healthy for task in self._all_tasks()) - _minimum(self._primary.service)
        for task in sorted(tasks, key=lambda task: (task.healthy, task.protected))[: max(0, count)]:
            if task.healthy:
                if spare <= 0:
                    return
                spare -= 1
            task.stop()

    def _conclude(self) -> None:
        """Notes that everything is as wanted: in time, or late, when it was called failed already."""
        primary, desired = self._primary, self._primary.service.desired_count
        late = self._failure is not None and not self._failure.rolled_back and not primary.halted
        if self._settled.is_set() and not late:
            return
        if any(old.tasks for old in self._old) or len(primary.tasks) != desired or len(primary.healthy) != desired:
            return
        if late:
            self._failure = None
        primary.completed, primary.failures = True, 0
        self._former = None
        self._settled.set()
        self._host.report(str(self.status()))

    def _all_tasks(self) -> list[Task]:
        return [task for deployment in [self._primary, *self._old] for task in deployment.tasks]


def _minimum(service: Service) -> int:
    return math.ceil(service.desired_count * service.minimum_healthy_percent / 100)


def _maximum(service: Service) -> int:
    return math.floor(service.desired_count * service.maximum_percent / 100)


def _failure_threshold(desired: int) -> int:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html"""
    return min(max(math.ceil(0.5 * desired), 3), 200)


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"
