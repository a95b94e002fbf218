"""The ECS service: what a workload with a desired count is, with or without a port."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import pulumi
import pulumi_aws as aws

from components.cluster import Cluster
from components.task_definition import TaskDefinition
from components.task_network import TaskNetwork

STABLE_WITHIN = "20m"
"""How long an update waits for the service to become stable before it fails."""


def create_service(
    name: str,
    *,
    cluster: Cluster,
    definition: TaskDefinition,
    network: TaskNetwork,
    desired_count: int,
    scaled: bool,
    capacity: Mapping[str, int],
    options: Callable[..., pulumi.ResourceOptions],
    depends_on: Sequence[pulumi.Resource] = (),
    load_balancers: Sequence[aws.ecs.ServiceLoadBalancerArgs] = (),
    health_check_grace_period_seconds: int | None = None,
) -> aws.ecs.Service:
    """A service that rolls without losing capacity, goes back by itself, and is waited for.

    `scaled` leaves the running count to a scaler; `capacity` is weights by capacity provider.
    """
    return aws.ecs.Service(
        name,
        cluster=cluster.arn,
        task_definition=definition.arn,
        # The provider's default is none at all.
        desired_count=desired_count,
        # Never a launch type: it excludes strategies, and changing from one to the other replaces the service.
        capacity_provider_strategies=[
            aws.ecs.ServiceCapacityProviderStrategyArgs(capacity_provider=provider, weight=weight)
            for provider, weight in capacity.items()
        ],
        # ECS takes a changed strategy only along with a new deployment.
        force_new_deployment=True,
        triggers={"capacity": _digest(capacity)},
        network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(**network.placement),
        load_balancers=list(load_balancers),
        health_check_grace_period_seconds=health_check_grace_period_seconds,
        deployment_minimum_healthy_percent=100,
        deployment_maximum_percent=200,
        deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
        availability_zone_rebalancing="ENABLED",
        enable_ecs_managed_tags=True,
        propagate_tags="SERVICE",
        wait_for_steady_state=True,
        # An update that is interrupted while it waits goes back, too.
        sigint_rollback=True,
        opts=options(
            # With a scaler the count is the scaler's; without one it must be set back, so it is ignored only then.
            ignore_changes=["desired_count"] if scaled else [],
            custom_timeouts=pulumi.CustomTimeouts(create=STABLE_WITHIN, update=STABLE_WITHIN, delete=STABLE_WITHIN),
            # The role policies among them must outlive the service, or its tasks can't stop: it stays DRAINING.
            depends_on=[cluster.capacity_providers, *network.rules, *definition.depends_on, *depends_on],
        ),
    )


def _digest(capacity: Mapping[str, int]) -> str:
    return hashlib.sha256(json.dumps(dict(capacity), sort_keys=True).encode()).hexdigest()[:16]
