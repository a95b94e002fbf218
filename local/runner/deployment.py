"""One deployment of a service: the tasks of one revision, and how often they failed."""

from __future__ import annotations

from collections import deque

from local.runner.rollout import Failure
from local.runner.stack import Service
from local.runner.task import Task


class Deployment:
    """`completed` once all of its tasks were healthy at a time; `halted` when given up: it starts no task any more."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.tasks: list[Task] = []
        self.failures = 0
        self.completed = False
        self.halted = False
        self._stopped: deque[str] = deque(maxlen=5)
        self._log_tail = ""

    @property
    def active(self) -> list[Task]:
        return [task for task in self.tasks if task.active]

    @property
    def healthy(self) -> list[Task]:
        return [task for task in self.tasks if task.healthy]

    def runs(self, service: Service) -> bool:
        """Whether its tasks are what `service` asks for, whatever their number."""
        mine = self.service
        return (mine.task_definition, mine.target_group_arns) == (service.task_definition, service.target_group_arns)

    def record_failure(self, task: Task) -> None:
        self.failures += 1
        if task.stopped:
            self._stopped.append(f"task {task.id} {task.stopped}")
        self._log_tail = task.log_tail() or self._log_tail

    def failure(self, name: str, reason: str, *, rolled_back: bool) -> Failure:
        return Failure(name, reason, tuple(self._stopped), self._log_tail, rolled_back)
