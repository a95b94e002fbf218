from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from components import ArgumentError, BacklogScaling, Bucket, Queue, WorkerService
from service.worker.protection import Protection
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice, statements


def worker(spot_percent: int = 0, protection_seconds: int = 900, **scaling: Any) -> WorkerService:
    queue = Queue("inbox")
    return WorkerService(
        "worker",
        cluster=parts.cluster(),
        image=parts.image(),
        command=["worker"],
        size=parts.SMALL,
        uses=[queue.consuming(), Bucket("emails", protected=False).writing("emails/")],
        scaling=BacklogScaling(queue=queue, **{"min": 1, "max": 4, **scaling}),
        spot_percent=spot_percent,
        protection_seconds=protection_seconds,
    )


@pytest.fixture(scope="module")
def deployed() -> Deployment:
    return deploy_twice(worker)


def test_nothing_reaches_a_worker(deployed: Deployment) -> None:
    assert not deployed.all(":SecurityGroupIngressRule")
    assert (
        "loadBalancers" not in deployed.one(":Service").inputs or not deployed.one(":Service").inputs["loadBalancers"]
    )
    (container,) = deployed.one("aws:ecs/taskDefinition:TaskDefinition").json("containerDefinitions")
    assert container["portMappings"] == []
    assert container["command"] == ["worker"]


def test_its_role_consumes_and_writes_and_protects_itself_and_does_nothing_else(deployed: Deployment) -> None:
    policy = deployed.one(":RolePolicy", "worker-task-policy").inputs["policy"]
    assert [actions for actions, _, _ in statements(policy)] == [
        ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        ["s3:PutObject"],
        ["ecs:UpdateTaskProtection"],
    ]


def test_it_may_protect_tasks_of_its_own_cluster_alone(deployed: Deployment) -> None:
    policy = deployed.one(":RolePolicy", "worker-task-policy").inputs["policy"]
    (resources,) = (resources for actions, resources, _ in statements(policy) if "ecs:UpdateTaskProtection" in actions)
    (arn,) = resources
    assert re.fullmatch(r"arn:aws:ecs:[a-z0-9-]+:\d{12}:task/[^/*]*cluster[^/*]*/\*", arn)


def test_a_share_of_spot_is_a_weight() -> None:
    def strategies(percent: int) -> Any:
        return deploy(lambda: worker(spot_percent=percent)).one(":Service").inputs["capacityProviderStrategies"]

    assert strategies(25) == [
        {"capacityProvider": "FARGATE", "weight": 75, "base": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 25},
    ]


def test_an_update_waits_as_long_as_a_busy_task_may_protect_itself(deployed: Deployment) -> None:
    assert deployed.one(":Service").options.customTimeouts.update == "54m"
    longer = deploy(lambda: worker(protection_seconds=7200)).one(":Service")
    assert longer.options.customTimeouts.update == "264m"
    # What the process does by default is what the component takes for granted.
    taken = inspect.signature(WorkerService).parameters["protection_seconds"].default
    assert taken == inspect.signature(Protection).parameters["longest_seconds"].default


def test_from_nought_none_runs_at_first() -> None:
    assert deploy(lambda: worker(min=0)).one(":Service").inputs["desiredCount"] == 0


def test_with_equal_bounds_the_count_is_managed() -> None:
    deployment = deploy(lambda: worker(min=2, max=2))
    target = deployment.one("aws:appautoscaling/target:Target").inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 2)
    assert not deployment.all("aws:appautoscaling/policy:Policy")
    assert not deployment.all(":MetricAlarm")


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_that_is_none_is_an_error(percent: int) -> None:
    with pytest.raises(ArgumentError, match="0 to 100"):
        deploy(lambda: worker(spot_percent=percent))
