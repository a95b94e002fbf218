from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components import ArgumentError, Queue
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice, statements


def _program(**arguments: Any) -> None:
    cluster, image = parts.cluster(), parts.image()
    uses = [parts.volume(cluster.network).mounted_at("/mnt/efs"), Queue("inbox").sending()]
    pulumi.export("url", parts.api(cluster=cluster, image=image, uses=uses, **arguments).url)


@pytest.fixture(scope="module")
def deployed() -> Deployment:
    return deploy_twice(_program)


def test_requests_go_from_the_load_balancer_to_the_container_and_from_nowhere_else(deployed: Deployment) -> None:
    (target,) = deployed.one(":Service").inputs["loadBalancers"]
    (container,) = deployed.one("aws:ecs/taskDefinition:TaskDefinition").json("containerDefinitions")
    assert target["containerName"] == container["name"]
    assert target["containerPort"] == container["portMappings"][0]["containerPort"] == 8080
    into_tasks = [
        rule.inputs
        for rule in deployed.all(":SecurityGroupIngressRule")
        if rule.inputs["securityGroupId"] == "api-tasks-id"
    ]
    assert [(rule["referencedSecurityGroupId"], rule["fromPort"]) for rule in into_tasks] == [
        ("api-alb-access-id", 8080)
    ]


def test_the_load_balancer_gets_out_to_the_tasks_alone(deployed: Deployment) -> None:
    rule = deployed.one(":SecurityGroupEgressRule", "api-alb-to-tasks").inputs
    assert (rule["securityGroupId"], rule["referencedSecurityGroupId"]) == ("api-alb-access-id", "api-tasks-id")
    assert (rule["fromPort"], rule["toPort"]) == (8080, 8080)


def test_a_starting_task_is_given_time_before_the_load_balancer_judges_it(deployed: Deployment) -> None:
    assert deployed.one(":Service").inputs["healthCheckGracePeriodSeconds"] == 60


def test_its_role_sends_and_mounts_and_does_nothing_else(deployed: Deployment) -> None:
    policy = deployed.one(":RolePolicy", "api-task-policy").inputs["policy"]
    assert [actions for actions, _, _ in statements(policy)] == [
        ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
        ["sqs:GetQueueAttributes", "sqs:SendMessage"],
    ]


def test_switched_off_nothing_of_it_is_left_and_everything_else_stays(deployed: Deployment) -> None:
    off = deploy_twice(lambda: _program(enabled=False))
    left = {item for item in off.graph() if item[1].startswith("api")}
    assert {type_ for type_, _, _ in left} == {"ecs-file-ingest:index:ApiService"}
    assert "url" not in off.outputs
    others = {item for item in deployed.graph() if not item[1].startswith("api")}
    assert others == {item for item in off.graph() if not item[1].startswith("api")}


def test_switched_off_its_overrides_may_stay_and_are_checked() -> None:
    deploy(lambda: _program(enabled=False, overrides={"service": {"enable_execute_command": True}}))
    with pytest.raises(ArgumentError, match="did you mean service"):
        deploy(lambda: _program(enabled=False, overrides={"servcie": {"enable_execute_command": True}}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"health_path": "healthcheck"}, "health_path"),
        ({"idle_timeout_seconds": 5000}, "1 to 4,000"),
        ({"deregistration_delay_seconds": 3601}, "0 to 3,600"),
        ({"stop_timeout_seconds": 121}, "1 to 120"),
        ({"environment": {"INBOX_QUEUE_URL": "x"}}, "INBOX_QUEUE_URL"),
    ],
)
def test_arguments_that_cannot_work_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        deploy(lambda: _program(**arguments))
