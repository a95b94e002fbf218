"""The ECS cluster."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.component import Component, Options
from components.network import Network
from components.overrides import Overrides
from components.place import Place


class Cluster(Component):
    """A Fargate cluster in a network, with Container Insights (which backlog scaling reads its task count from).

    `log_retention_days` (a value that CloudWatch allows) and `retain_logs` (keep log groups when what wrote them is
    deleted) hold for every workload of the cluster.
    """

    def __init__(
        self,
        name: str,
        *,
        network: Network,
        log_retention_days: int,
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
        # Container Insights would create this group itself, without an end to its retention.
        aws.cloudwatch.LogGroup(
            f"{name}-insights",
            name=pulumi.Output.concat("/aws/ecs/containerinsights/", self.cluster.name, "/performance"),
            retention_in_days=log_retention_days,
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
        self.arn = self.cluster.arn
        self.cluster_name = self.cluster.name
        self.finish({"cluster_name": self.cluster_name})


def capacity_shares(spot_percent: int) -> Mapping[str, int]:
    """Weights by capacity provider for a share (0 to 100) of tasks on Fargate Spot.

    ECS takes no strategy with a weight of zero alone, so a provider without a share is left out.
    """
    shares = {"FARGATE": 100 - spot_percent, "FARGATE_SPOT": spot_percent}
    return {provider: weight for provider, weight in shares.items() if weight}
