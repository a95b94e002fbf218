from __future__ import annotations

from typing import Any

import pytest

from components import ArgumentError, ScheduledTask
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice, statements

CLUSTER = "arn:aws:ecs:eu-west-1:123456789012:cluster-1a2b3c4"


def _sweep(**arguments: Any) -> None:
    cluster = parts.cluster()
    ScheduledTask(
        "sweep",
        cluster=cluster,
        image=parts.image(),
        command=["sweep"],
        size=parts.SMALL,
        uses=[parts.volume(cluster.network).mounted_at("/mnt/efs")],
        **{"schedule": "rate(1 hour)", **arguments},
    )


@pytest.fixture(scope="module")
def sweep() -> Deployment:
    return deploy_twice(lambda: _sweep(schedule="cron(0 3 * * ? *)", timezone="America/Sao_Paulo"))


@pytest.fixture(scope="module")
def target(sweep: Deployment) -> dict[str, Any]:
    found = sweep.one(":Schedule").inputs["target"]
    assert isinstance(found, dict)
    return found


def test_it_starts_at_its_time_in_its_time_zone(sweep: Deployment) -> None:
    schedule = sweep.one(":Schedule").inputs
    assert schedule["scheduleExpression"] == "cron(0 3 * * ? *)"
    assert schedule["scheduleExpressionTimezone"] == "America/Sao_Paulo"
    assert schedule["flexibleTimeWindow"] == {"mode": "OFF"}
    assert schedule["state"] == "ENABLED"


def test_disabled_everything_stays_and_nothing_starts() -> None:
    deployment = deploy(lambda: _sweep(enabled=False))
    assert deployment.one(":Schedule").inputs["state"] == "DISABLED"


def test_trap_43_retries_are_few_and_what_fails_is_kept(sweep: Deployment, target: dict[str, Any]) -> None:
    assert target["retryPolicy"] == {"maximumRetryAttempts": 3, "maximumEventAgeInSeconds": 3600}
    queue = sweep.one("aws:sqs/queue:Queue").inputs
    assert queue["messageRetentionSeconds"] == 14 * 86_400
    assert queue["sqsManagedSseEnabled"] is True
    assert target["deadLetterConfig"]["arn"].endswith(":sweep-dead-letters-1a2b3c4")


def test_trap_44_it_runs_by_a_strategy_never_a_launch_type(target: dict[str, Any]) -> None:
    parameters = target["ecsParameters"]
    assert "launchType" not in parameters
    assert parameters["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 100}]
    assert parameters["networkConfiguration"]["securityGroups"] == ["sweep-tasks-id"]
    assert target["arn"] == CLUSTER


def test_trap_43_its_role_runs_this_family_on_this_cluster_and_passes_both_roles_to_ecs(sweep: Deployment) -> None:
    run, give, send = statements(sweep.one(":RolePolicy", "sweep-schedule-policy").inputs["policy"])
    assert run == (
        ["ecs:RunTask"],
        ["arn:aws:ecs:eu-west-1:123456789012:task-definition/ecs-file-ingest-test-sweep:*"],
        {"ArnEquals": {"ecs:cluster": CLUSTER}},
    )
    assert give[0] == ["iam:PassRole"]
    assert [arn.rpartition("/")[2] for arn in give[1]] == ["sweep-execution-role-1a2b3c4", "sweep-task-role-1a2b3c4"]
    assert give[2] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert send[0] == ["sqs:SendMessage"]
    assert [arn.rpartition(":")[2] for arn in send[1]] == ["sweep-dead-letters-1a2b3c4"]


def test_its_role_is_trusted_to_the_scheduler_for_this_account(sweep: Deployment) -> None:
    (statement,) = sweep.one(":Role", "sweep-schedule-role").json("assumeRolePolicy")["Statement"]
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_a_task_that_ends_by_itself_has_no_health_check(sweep: Deployment) -> None:
    (container,) = sweep.one("aws:ecs/taskDefinition:TaskDefinition").json("containerDefinitions")
    assert "healthCheck" not in container
    assert container["command"] == ["sweep"]


def test_the_schedule_waits_for_what_its_task_needs(sweep: Deployment) -> None:
    assert {
        "aws:efs/mountTarget:MountTarget::files-eu-west-1a",
        "aws:iam/rolePolicy:RolePolicy::sweep-schedule-policy",
        "aws:iam/rolePolicy:RolePolicy::sweep-task-policy",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule::sweep-tasks-to-files",
    } <= sweep.one(":Schedule").depends_on


def test_a_bad_schedule_and_a_bad_time_zone_are_told_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        deploy(lambda: _sweep(schedule="rate(1 hours)", timezone="Mars/Olympus"))
    assert [mistake.name for mistake in caught.value.mistakes] == ["schedule", "timezone"]
