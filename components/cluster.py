"""The ECS cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pulumi
import pulumi_aws as aws

from components.arguments import OneOf, checked
from components.component import Children, Component, Options
from components.names import Name
from components.network import Network
from components.overrides import Overrides
from components.place import Place

LogRetentionDays = Annotated[int, OneOf((
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
))]  # fmt: skip
"""https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"""


class Cluster(Component):
    """A Fargate cluster in a network, with Container Insights (which backlog scaling reads its task count from).

    `log_retention_days` (a value that CloudWatch allows) and `retain_logs` (keep log groups when what wrote them is
    deleted) hold for every workload of the cluster.
    """

    children: ClassVar[Children] = {
        "capacity": "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders",
        "cluster": "aws:ecs/cluster:Cluster",
        "insights": "aws:cloudwatch/logGroup:LogGroup",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        network: Network,
        log_retention_days: LogRetentionDays,
        retain_logs: bool,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        self.network = network
        self.log_retention_days = log_retention_days
        self.retain_logs = retain_logs
        self.place = Place.of(self)
        self.cluster = aws.ecs.Cluster(
            name,
            settings=[aws.ecs.ClusterSettingArgs(name="containerInsights", value="enabled")],
            opts=self.options(),
        )
        insights = aws.cloudwatch.LogGroup(
            f"{name}-insights",
            name=pulumi.Output.concat("/aws/ecs/containerinsights/", self.cluster.name, "/performance"),
            retention_in_days=log_retention_days,
            skip_destroy=retain_logs,
            opts=self.options(),
        )
        self.capacity_providers = aws.ecs.ClusterCapacityProviders(
            f"{name}-capacity",
            cluster_name=self.cluster.name,
            capacity_providers=["FARGATE", "FARGATE_SPOT"],
            default_capacity_provider_strategies=[
                aws.ecs.ClusterCapacityProvidersDefaultCapacityProviderStrategyArgs(
                    capacity_provider="FARGATE", weight=1
                )
            ],
            opts=self.options(),
        )
        # What runs tasks comes after the group and goes before it: Container Insights makes the group by itself, without
        # an end to its retention, when a task finds none (aws/containers-roadmap#2315).
        self.depends_on: tuple[pulumi.Resource, ...] = (self.capacity_providers, insights)
        self.arn = self.cluster.arn
        self.cluster_name = self.cluster.name
        self.finish({"cluster_name": self.cluster_name})


@dataclass(frozen=True, kw_only=True)
class CapacityShare:
    """A capacity provider's part in a strategy: the first `base` tasks, and `weight` of those beyond."""

    provider: str
    weight: int
    base: int | None = None


def capacity_shares(spot_percent: int) -> Sequence[CapacityShare]:
    """The strategy for a share (0 to 100) of tasks on Fargate Spot.

    The first task is on demand in any case, and the share counts beyond it: Spot has nothing to fall back on when there is
    no such capacity (aws/containers-roadmap#773).
    """
    if spot_percent == 0:
        return (CapacityShare(provider="FARGATE", weight=100),)
    # A provider with a weight of nought "can't be used to place tasks", a base or not, so all Spot is 1000 to 1.
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html
    on_demand, spot = (100 - spot_percent, spot_percent) if spot_percent < 100 else (1, 1000)
    return (
        CapacityShare(provider="FARGATE", weight=on_demand, base=1),
        CapacityShare(provider="FARGATE_SPOT", weight=spot),
    )
