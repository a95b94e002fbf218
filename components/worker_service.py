"""A service that works off a queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Unpack

import pulumi

from components.arguments import Between, checked
from components.backlog import BacklogScaling, scale_on_backlog
from components.cluster import Cluster, capacity_shares
from components.component import Children, Component, Options
from components.ecs_service import create_service
from components.fargate import Size
from components.iam import Statement
from components.image import Image
from components.names import Name
from components.overrides import Overrides
from components.service_timeouts import Pace
from components.task import ContainerArguments, Task
from components.task_definition import TaskDefinition
from components.task_network import TaskNetwork
from components.uses import Use

SpotPercent = Annotated[int, Between(0, 100)]


class WorkerService(Component):
    """An ECS service without a port, scaled on its queue's backlog. Its tasks may protect themselves from scale-in.

    `spot_percent` (0 to 100) is the share of tasks on Fargate Spot, which AWS may stop on two minutes' notice: a worker
    hands back what it has. The first task is on demand in any case, since Spot has nothing to fall back on; the share
    counts beyond it. `protection_seconds` is how long a busy task may go on protecting itself: deployments wait for its
    end, and an update waits for the deployment. `Task` says what a container takes. Raises ArgumentError for arguments
    that cannot work.
    """

    children: ClassVar[Children] = {
        **TaskDefinition.children,
        **TaskNetwork.children,
        "backlog": "aws:appautoscaling/policy:Policy",
        "scaling": "aws:appautoscaling/target:Target",
        "service": "aws:ecs/service:Service",
        "wake": "aws:appautoscaling/policy:Policy",
        "wake-alarm": "aws:cloudwatch/metricAlarm:MetricAlarm",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        cluster: Cluster,
        image: Image,
        size: Size,
        scaling: BacklogScaling,
        spot_percent: SpotPercent = 0,
        protection_seconds: Annotated[int, Between(60, 172_800, "ECS's limits")] = 900,
        overrides: Overrides | None = None,
        opts: Options = None,
        **container: Unpack[ContainerArguments],
    ) -> None:
        task = Task(image=image, size=size, **container)
        task.check(f"WorkerService {name!r}", cluster.network)
        super().__init__(name, overrides=overrides, opts=opts)
        task = replace(task, uses=(*task.uses, _protecting_itself(name, cluster)))
        self.definition = TaskDefinition(name, cluster=cluster, task=task, opts=self.options())
        self.task_network = TaskNetwork(name, network=cluster.network, uses=task.uses, opts=self.options())
        self.service = create_service(
            name,
            cluster=cluster,
            definition=self.definition,
            network=self.task_network,
            capacity=capacity_shares(spot_percent),
            pace=Pace(
                tasks=scaling.min,
                healthy_seconds=task.healthy_seconds,
                stop_timeout_seconds=task.stop_timeout_seconds,
                protection_seconds=protection_seconds,
            ),
            options=self.options,
        )
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
