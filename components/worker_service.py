"""A service that works off a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pulumi

from components.backlog import BacklogScaling, scale_on_backlog
from components.cluster import Cluster, capacity_shares
from components.component import Component, Options
from components.ecs_service import create_service
from components.errors import ArgumentError, Mistake
from components.fargate import Size
from components.iam import Statement
from components.image import Image
from components.overrides import Overrides
from components.task_definition import Task, TaskDefinition
from components.task_network import TaskNetwork
from components.uses import Use


class WorkerService(Component):
    """An ECS service without a port, scaled on its queue's backlog. Its tasks may protect themselves from scale-in.

    `spot_percent` (0 to 100) is the share of tasks on Fargate Spot, which AWS may stop on two minutes' notice: a worker
    hands back what it has. Raises ArgumentError for arguments that cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        image: Image,
        command: Sequence[str],
        size: Size,
        scaling: BacklogScaling,
        spot_percent: int = 0,
        uses: Sequence[Use] = (),
        environment: Mapping[str, pulumi.Input[str]] | None = None,
        stop_timeout_seconds: int = 60,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        task = Task(
            image=image,
            command=tuple(command),
            size=size,
            uses=tuple(uses),
            environment=environment or {},
            stop_timeout_seconds=stop_timeout_seconds,
        )
        _check(name, task, spot_percent)
        super().__init__(name, overrides=overrides, opts=opts)
        task = replace(task, uses=(*task.uses, _protecting_itself(name, cluster)))
        self.definition = TaskDefinition(name, cluster=cluster, task=task, opts=self.options())
        self.task_network = TaskNetwork(name, network=cluster.network, uses=task.uses, opts=self.options())
        scaled = scaling.min < scaling.max
        self.service = create_service(
            name,
            cluster=cluster,
            definition=self.definition,
            network=self.task_network,
            desired_count=scaling.min,
            scaled=scaled,
            capacity=capacity_shares(spot_percent),
            options=self.options,
        )
        if scaled:
            scale_on_backlog(name, scaling, cluster=cluster, service=self.service, options=self.options)
        self.service_name = self.service.name
        self.finish({"service_name": self.service_name})


def _protecting_itself(name: str, cluster: Cluster) -> Use:
    """What a busy task needs to keep itself out of a scale-in, by the ECS agent and with its own role.

    The role can't name one task, since a task's id is not known before it runs: it is every task of this cluster.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
    """
    tasks = cluster.place.arn("ecs", pulumi.Output.concat("task/", cluster.cluster_name, "/*"))
    return Use(source=name, statements=(Statement(actions=("ecs:UpdateTaskProtection",), resources=(tasks,)),))


def _check(name: str, task: Task, spot_percent: int) -> None:
    task.check(f"WorkerService {name!r}")
    if not 0 <= spot_percent <= 100:
        raise ArgumentError(
            f"WorkerService {name!r}",
            Mistake(name="spot_percent", value=str(spot_percent), allowed="0 to 100", remedy="give a share in percent"),
        )
