"""The ECS service: what a workload with a number of tasks is, with or without a port."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pulumi
import pulumi_aws as aws

from components.cluster import CapacityShare, Cluster
from components.rollout import check_rollout
from components.service_timeouts import Pace, settling_seconds, timeouts
from components.task_definition import TaskDefinition
from components.task_network import TaskNetwork


def create_service(
    name: str,
    *,
    cluster: Cluster,
    definition: TaskDefinition,
    network: TaskNetwork,
    capacity: Sequence[CapacityShare],
    pace: Pace,
    options: Callable[..., pulumi.ResourceOptions],
    depends_on: Sequence[pulumi.Resource] = (),
    load_balancers: Sequence[aws.ecs.ServiceLoadBalancerArgs] = (),
    health_check_grace_period_seconds: int | None = None,
) -> aws.ecs.Service:
    """A service that rolls without losing capacity, goes back by itself, and is waited for and looked at.

    `pace.tasks` is how many tasks it starts with and has at least; from then on the count is its scaler's, which every
    service has.
    """
    service = aws.ecs.Service(
        name,
        cluster=cluster.arn,
        task_definition=definition.arn,
        # The provider's default is none at all.
        desired_count=pace.tasks,
        # Never a launch type: it excludes strategies, and changing from one to the other replaces the service.
        capacity_provider_strategies=[
            aws.ecs.ServiceCapacityProviderStrategyArgs(
                capacity_provider=share.provider, weight=share.weight, base=share.base
            )
            for share in capacity
        ],
        # The provider refuses a changed strategy without it. It goes with each update of the service, so nothing that is
        # to leave the tasks alone may be one: the count is the scaler's.
        force_new_deployment=True,
        network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(**network.placement),
        load_balancers=list(load_balancers),
        health_check_grace_period_seconds=health_check_grace_period_seconds,
        # Written out: the provider follows a deployment, and fails with it, only where the answer of ECS names this type
        # (hashicorp/terraform-provider-aws, internal/service/ecs/service.go, statusServiceWaitForStable).
        deployment_controller=aws.ecs.ServiceDeploymentControllerArgs(type="ECS"),
        deployment_minimum_healthy_percent=pace.minimum_percent,
        deployment_maximum_percent=pace.maximum_percent,
        deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
        availability_zone_rebalancing="ENABLED",
        enable_ecs_managed_tags=True,
        propagate_tags="SERVICE",
        wait_for_steady_state=True,
        opts=options(
            ignore_changes=["desired_count"],
            custom_timeouts=timeouts(pace),
            # The role policies among them must outlive the service, or its tasks can't stop: it stays DRAINING.
            depends_on=[*cluster.depends_on, *network.rules, *definition.depends_on, *depends_on],
        ),
    )
    check_rollout(service, tasks=pace.tasks, settles_within_seconds=settling_seconds(pace))
    return service
