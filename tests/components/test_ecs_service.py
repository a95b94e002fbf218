from __future__ import annotations

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


def test_trap_10_the_count_is_left_to_the_scaler_only_while_there_is_one(service: Resource) -> None:
    assert list(service.options.ignoreChanges) == ["desiredCount"]
    fixed = _service(scaling=Scaling(min=2, max=2))
    assert not fixed.options.ignoreChanges
    assert fixed.inputs["desiredCount"] == 2


def test_trap_12_and_13_there_is_a_strategy_never_a_launch_type_and_a_change_of_it_is_deployed(
    service: Resource,
) -> None:
    assert "launchType" not in service.inputs
    assert service.inputs["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 100}]
    assert service.inputs["forceNewDeployment"] is True
    assert service.inputs["triggers"] == _service().inputs["triggers"]


def test_trap_29_a_failed_deployment_is_rolled_back_and_waited_for_within_bounds(service: Resource) -> None:
    assert service.inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert service.inputs["waitForSteadyState"] is True
    assert service.options.customTimeouts.update == service.options.customTimeouts.create == "20m"


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
