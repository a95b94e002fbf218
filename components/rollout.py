"""Whether an ECS service runs what was asked for.

A rollout that fails leaves the task definition that was asked for in the stack's state, while ECS runs the one before, or
nothing. An update after it finds no difference, calls nothing, and would succeed. So each update looks at ECS itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib.metadata import version

import pulumi
import pulumi_aws as aws

Found = aws.ecs.GetServiceResult
Look = Callable[[], Awaitable[Found]]

LOOKS_EVERY_SECONDS = 15

_EVENTS = 3


class RolloutError(pulumi.RunError):
    """A service does not run what was asked for. Pulumi prints a RunError as one message, without a traceback."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a service is to run: the task definition by its ARN, and at least so many of its tasks."""

    service: str
    task_definition: str
    tasks: int


def check_rollout(service: aws.ecs.Service, *, tasks: int, settles_within_seconds: int) -> pulumi.Output[None]:
    """Fails the update when the service, after it was deployed or left alone, does not run what it was told to.

    What it was told is the task definition that stands in the state, so that an update of other things alone
    (`--target`), an override and a deployment by others that the program ignores are no faults. A count that is too low
    may lag and has `settles_within_seconds`. A preview warns: what the update is about to change is no fault yet. It
    says nothing while the service does not exist or its task definition is not known, as with any change to deploy.
    """

    async def check(known: list[str]) -> None:
        _, cluster, name, definition = known
        asked = Asked(service=name, task_definition=definition, tasks=tasks)

        async def look() -> Found:
            arguments = {"clusterArn": cluster, "serviceName": name}
            # Without the SDK's version the engine makes another default provider, of whatever plugin is the newest.
            options = pulumi.InvokeOptions(parent=service, version=version("pulumi_aws"))
            found = await pulumi.runtime.invoke_async("aws:ecs/getService:getService", arguments, options, typ=Found)
            assert isinstance(found, Found)
            return found

        if pulumi.runtime.is_dry_run():
            problem = await _seen_in_preview(asked, look)
            if problem is not None:
                pulumi.log.warn(problem, service)
            return
        problem = await settled_problem(asked, look, settles_within_seconds)
        if problem is not None:
            raise RolloutError(problem)

    # The id, because it is known only of a service that exists: its automatic name is known before.
    # The program ends only when its outputs have come, and fails with one that fails, whether anything uses it or not.
    return pulumi.Output.all(service.id, service.cluster, service.name, service.task_definition).apply(check)


async def _seen_in_preview(asked: Asked, look: Look) -> str | None:
    try:
        return preview_problem(asked, await look())
    except Exception as error:
        # Such as a service that was deleted by hand: a preview that ends here would hide what the update does about it.
        return f"ECS could not be asked what the service {asked.service!r} runs: {error}"


async def settled_problem(
    asked: Asked, look: Look, within_seconds: int, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> str | None:
    """What is wrong and stays wrong. Only a count that is too low is given time; a wrong revision does not mend itself."""
    for _ in range(math.ceil(within_seconds / LOOKS_EVERY_SECONDS)):
        found = await look()
        problem = rollout_problem(asked, found)
        primary = _primary(found)
        if problem is None or primary is None or primary.task_definition != asked.task_definition:
            return problem
        await sleep(LOOKS_EVERY_SECONDS)
    return rollout_problem(asked, await look())


def preview_problem(asked: Asked, found: Found) -> str | None:
    """What is wrong before the update: fewer tasks than ECS itself is to run, not than the update will ask for."""
    fewest = min(asked.tasks, found.desired_count)
    return rollout_problem(replace(asked, tasks=fewest), found)


def rollout_problem(asked: Asked, found: Found) -> str | None:
    """What is wrong, what runs, what ECS said of it last, and what to do; None when all is well.

    The primary deployment is what ECS works towards. A rollback makes the revision before the primary one; a first
    deployment that failed stays primary, without tasks. Deployments by CodeDeploy or an external controller are theirs.
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
    """
    if any(controller.type != "ECS" for controller in found.deployment_controllers or ()):
        return None
    primary = _primary(found)
    if primary is None:
        return _message(
            asked,
            found,
            f"it has no deployment; its status is {found.status}",
            "run pulumi up, which refreshes first",
        )
    if primary.task_definition != asked.task_definition:
        what = f"it runs {_revision(primary.task_definition)}: the deployment of what was asked failed or was undone"
        return _message(asked, found, what, "correct the cause; an update that refreshes first deploys again")
    if primary.running_count < asked.tasks:
        what = (
            f"{primary.running_count} of its tasks run and {primary.pending_count} start, "
            f"while ECS is to run {found.desired_count}"
        )
        remedy = (
            "correct the cause, then run pulumi up with another image or task definition; when nothing else changes, "
            f"start a deployment with aws ecs update-service --cluster {found.cluster_arn} --service {asked.service} "
            f"--force-new-deployment --desired-count {max(asked.tasks, found.desired_count)} and run pulumi up again"
        )
        return _message(asked, found, what, remedy)
    return None


def _primary(found: Found) -> aws.ecs.outputs.GetServiceDeploymentResult | None:
    return next((deployment for deployment in found.deployments or () if deployment.status == "PRIMARY"), None)


def _message(asked: Asked, found: Found, what: str, remedy: str) -> str:
    tasks = "1 task" if asked.tasks == 1 else f"{asked.tasks} tasks"
    lines = [
        f"ECS service {asked.service!r} does not run what was asked for: {what}",
        f"  asked: {_revision(asked.task_definition)}, at least {tasks}",
        *(f"  event: {event.created_at} {event.message}" for event in (found.events or ())[:_EVENTS]),
        f"  remedy: {remedy}",
    ]
    return "\n".join(lines)


def _revision(arn: str) -> str:
    return arn.rpartition("/")[2]
