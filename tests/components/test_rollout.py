from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pulumi
import pulumi_aws as aws
import pytest

from components.rollout import (
    LOOKS_EVERY_SECONDS,
    Asked,
    Found,
    RolloutError,
    check_rollout,
    preview_problem,
    rollout_problem,
    settled_problem,
)
from tests.components import cloud, parts
from tests.components.deployment import Deployment, deploy

NEW, OLD = (f"arn:aws:ecs:eu-west-1:123456789012:task-definition/app-api:{revision}" for revision in (8, 7))
ASKED = Asked(service="api", task_definition=NEW, tasks=2)


def found(definition: str = NEW, *, running: int, desired: int = 2, **more: Any) -> Found:
    """The answer as the SDK gives it."""
    answer = cloud.ecs_service(definition, running=running, desired=desired, **more)
    deployments = [
        aws.ecs.outputs.GetServiceDeploymentResult(
            created_at=item["createdAt"],
            desired_count=item["desiredCount"],
            id=item["id"],
            pending_count=item["pendingCount"],
            running_count=item["runningCount"],
            status=item["status"],
            task_definition=item["taskDefinition"],
            updated_at=item["updatedAt"],
        )
        for item in answer["deployments"]
    ]
    events = [
        aws.ecs.outputs.GetServiceEventResult(created_at=item["createdAt"], id=item["id"], message=item["message"])
        for item in answer["events"]
    ]
    return Found(  # type: ignore[no-untyped-call]
        cluster_arn=answer["clusterArn"],
        deployments=deployments,
        desired_count=desired,
        events=events,
        status=answer["status"],
    )


def settled(*answers: Found) -> tuple[str | None, float]:
    """What a look at these answers, one after the other and the last for ever, ends with, and the seconds it took."""
    left, slept = list(answers), 0.0

    async def look() -> Found:
        return left.pop(0) if len(left) > 1 else left[0]

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    return asyncio.run(settled_problem(ASKED, look, 100, sleep=sleep)), slept


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (found(running=2), None),
        (found(running=5, desired=9), None),  # a scaler is at work above the minimum
        (found(OLD, running=2), "it runs app-api:7"),  # rolled back
        (found(OLD, running=0), "it runs app-api:7"),
        (found(running=0), "0 of its tasks run"),  # a first deployment that failed
        (found(running=1, pending=1), "1 of its tasks run and 1 start"),
        (found(running=0, desired=0), "ECS is to run 0"),  # stopped by hand
    ],
)
def test_only_what_was_asked_with_enough_tasks_is_well(answer: Found, wrong: str | None) -> None:
    problem = rollout_problem(ASKED, answer)
    assert problem is None if wrong is None else wrong in str(problem)


def test_tasks_of_the_revision_before_do_not_count() -> None:
    answer = found(running=1)
    [primary] = answer.deployments
    before = aws.ecs.outputs.GetServiceDeploymentResult(
        created_at="2030-01-31T02:00:00Z",
        desired_count=2,
        id="ecs-svc/0",
        pending_count=0,
        running_count=2,
        status="ACTIVE",
        task_definition=OLD,
        updated_at="2030-01-31T02:00:00Z",
    )
    both = Found(  # type: ignore[no-untyped-call]
        cluster_arn="c", deployments=[before, primary], desired_count=2, events=[], running_count=3
    )
    assert "1 of its tasks run" in str(rollout_problem(ASKED, both))


@pytest.mark.parametrize("controller", ["CODE_DEPLOY", "EXTERNAL"])
def test_deployments_by_others_are_not_judged(controller: str) -> None:
    answer = Found(  # type: ignore[no-untyped-call]
        cluster_arn="c",
        deployments=[],
        deployment_controllers=[aws.ecs.outputs.GetServiceDeploymentControllerResult(type=controller)],
        desired_count=2,
        events=[],
        status="ACTIVE",
    )
    assert rollout_problem(ASKED, answer) is None


def test_a_service_that_needs_no_task_needs_the_right_revision_alone() -> None:
    from_nought = Asked(service="worker", task_definition=NEW, tasks=0)
    assert rollout_problem(from_nought, found(running=0, desired=0)) is None
    assert rollout_problem(from_nought, found(OLD, running=0, desired=0)) is not None


def test_a_service_without_a_deployment_is_not_well() -> None:
    gone = Found(  # type: ignore[no-untyped-call]
        cluster_arn="c", deployments=[], desired_count=0, events=[], status="INACTIVE"
    )
    assert "INACTIVE" in str(rollout_problem(ASKED, gone))


def test_the_message_tells_what_was_asked_what_runs_the_last_events_and_what_to_do() -> None:
    events = ("rolled back", "task failed its health checks", "started 1 task", "long ago")
    message = str(rollout_problem(ASKED, found(OLD, running=2, events=events)))
    assert "'api'" in message and "app-api:8, at least 2 tasks" in message
    assert "rolled back" in message and "started 1 task" in message and "long ago" not in message
    assert "an update that refreshes first deploys again" in message
    first = str(rollout_problem(ASKED, found(running=0)))
    assert "aws ecs update-service --cluster" in first and "--force-new-deployment --desired-count 2" in first


def test_a_count_that_lags_is_given_time_and_no_more() -> None:
    assert settled(found(running=1, desired=1), found(running=1, pending=1), found(running=2)) == (
        None,
        2 * LOOKS_EVERY_SECONDS,
    )
    problem, slept = settled(found(running=1))
    assert problem is not None
    assert slept == 7 * LOOKS_EVERY_SECONDS


def test_a_wrong_revision_is_given_none() -> None:
    problem, slept = settled(found(OLD, running=2))
    assert problem is not None
    assert slept == 0


def test_a_preview_tells_what_is_wrong_now_not_what_it_is_about_to_change() -> None:
    assert preview_problem(ASKED, found(running=1, desired=1)) is None  # one more is asked for by this program
    assert "0 of its tasks run" in str(preview_problem(ASKED, found(running=0, desired=1)))
    assert "app-api:7" in str(preview_problem(ASKED, found(OLD, running=2)))


def _up(definition: str | None = None, **answer: Any) -> Deployment:
    def ecs(service: dict[str, Any]) -> dict[str, Any]:
        return cloud.ecs_service(definition or service["taskDefinition"], **answer)

    return deploy(parts.api, ecs=ecs)


def test_an_update_looks_at_the_service_that_it_deployed() -> None:
    assert "aws:ecs/getService:getService" in _up(running=1, desired=1).invokes


def test_an_update_over_the_wrong_revision_fails_though_nothing_uses_the_check() -> None:
    with pytest.raises(RolloutError, match="it runs app-api:7"):
        _up(OLD, running=3, desired=3)


def test_a_preview_asks_nothing_of_a_service_that_is_not_known() -> None:
    assert "aws:ecs/getService:getService" not in deploy(parts.api, preview=True).invokes


def test_a_preview_warns_and_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, resource: told.append(message))

    def program() -> None:
        # What the SDK makes of a service that exists and that the update leaves as it is: everything is known.
        service: Any = pulumi.ComponentResource("test:index:Service", "api")
        for key, value in (("id", "arn"), ("name", "api"), ("cluster", "c"), ("task_definition", NEW)):
            setattr(service, key, pulumi.Output.from_input(value))
        check_rollout(service, tasks=2, settles_within_seconds=0)

    deploy(program, preview=True, ecs=lambda _: cloud.ecs_service(OLD, running=2, desired=2))
    [message] = told
    assert "it runs app-api:7" in message
    told.clear()
    deploy(program, preview=True, ecs=lambda _: cloud.ecs_service(NEW, running=2, desired=2))
    assert not told
    deploy(program, preview=True, ecs=_no_such_service)
    [message] = told
    assert "could not be asked" in message and "no matching ECS Service found" in message


class _Missing(grpc.RpcError):  # type: ignore[misc]
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return "no matching ECS Service found"


def _no_such_service(service: dict[str, Any]) -> dict[str, Any]:
    # What the engine makes of a provider's error.
    raise _Missing
