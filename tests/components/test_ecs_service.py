from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from components import Scaling
from tests.components import parts
from tests.components.deployment import Deployment, Resource, deploy, deploy_twice


def _service(**arguments: Any) -> Resource:
    return deploy(lambda: parts.api(**arguments)).one(":Service")


@pytest.fixture(scope="module")
def api() -> Deployment:
    return deploy_twice(parts.api)


@pytest.fixture(scope="module")
def service(api: Deployment) -> Resource:
    return api.one(":Service")


def test_trap_9_the_desired_count_is_said(service: Resource) -> None:
    assert service.inputs["desiredCount"] == 1


def test_trap_10_the_count_is_the_scaler_s_so_that_a_change_of_it_restarts_no_task() -> None:
    for low, high in ((2, 2), (3, 3), (2, 4)):
        deployment = deploy(partial(parts.api, scaling=Scaling(min=low, max=high)))
        # What is ignored is taken from the state: no update of the service, which would come with a new deployment.
        assert list(deployment.one(":Service").options.ignoreChanges) == ["desiredCount"]
        # AWS brings the count between the bounds when they change, also from nine to a fixed two.
        target = deployment.one("aws:appautoscaling/target:Target").inputs
        assert (target["minCapacity"], target["maxCapacity"]) == (low, high)
        assert deployment.one(":Service").inputs["desiredCount"] == low


def test_trap_12_and_13_there_is_a_strategy_never_a_launch_type_and_a_change_of_it_is_deployed(
    service: Resource,
) -> None:
    assert "launchType" not in service.inputs
    assert service.inputs["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 100}]
    assert service.inputs["forceNewDeployment"] is True
    # It goes with each update as it is, and a changed strategy is an update by itself.
    assert "triggers" not in service.inputs


def test_trap_29_a_failed_deployment_is_rolled_back_and_waited_for_within_bounds(service: Resource) -> None:
    assert service.inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert service.inputs["waitForSteadyState"] is True
    # The provider follows a deployment only where the controller's type is in the answer.
    assert service.inputs["deploymentController"] == {"type": "ECS"}
    # One task, its health checks of 90 s, 60 s to let go of it, 60 s to stop: see the table of service_timeouts.
    times = service.options.customTimeouts
    assert (times.create, times.update, times.delete) == ("28m", "32m", "20m")


def test_an_interrupted_update_is_not_said_to_go_back(service: Resource) -> None:
    # Nothing interrupts the provider: the bridge's Cancel does nothing (pulumi/pulumi-go-provider#208).
    assert "sigintRollback" not in service.inputs


def test_a_deployment_loses_no_capacity(service: Resource) -> None:
    assert service.inputs["deploymentMinimumHealthyPercent"] == 100
    # Rebalancing of zones needs room above the desired count.
    assert service.inputs["deploymentMaximumPercent"] == 200
    assert service.inputs["availabilityZoneRebalancing"] == "ENABLED"


def test_trap_4_14_19_and_30_a_service_waits_for_all_that_its_tasks_need() -> None:
    def program() -> None:
        cluster = parts.cluster()
        parts.api(cluster=cluster, uses=[parts.volume(cluster.network).mounted_at("/mnt/efs")])

    waits = deploy_twice(program).one(":Service").depends_on
    assert {
        "aws:lb/listener:Listener::api-http",
        "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders::cluster-capacity",
        "aws:cloudwatch/logGroup:LogGroup::cluster-insights",
        "aws:efs/mountTarget:MountTarget::files-eu-west-1a",
        "aws:efs/mountTarget:MountTarget::files-eu-west-1b",
        "aws:iam/rolePolicy:RolePolicy::api-execution-policy",
        "aws:iam/rolePolicy:RolePolicy::api-task-policy",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule::api-tasks-to-files",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule::api-tasks-into-files",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule::api-tasks-from-alb",
    } <= waits


def test_tasks_run_in_the_network_s_task_subnets(service: Resource) -> None:
    assert service.inputs["networkConfiguration"] == {
        "subnets": ["subnet-public-eu-west-1a", "subnet-public-eu-west-1b"],
        "securityGroups": ["api-tasks-id"],
        "assignPublicIp": True,
    }
