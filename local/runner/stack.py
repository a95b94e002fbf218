"""The deployed stack as the runner sees it: a typed view of the resources in `pulumi stack export`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.runner.ports import RunnerError
from local.runner.task_definition import TaskDefinition, parse_task_definition

# How `pulumi stack export` marks a value that is a secret (pulumi sdk/go/common/resource/sig).
_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"


@dataclass(frozen=True)
class TargetGroup:
    """Where a load balancer sends requests, and how it decides that a target may have them. Times in seconds."""

    arn: str
    health_path: str
    health_matcher: str
    health_interval: float
    health_timeout: float
    healthy_threshold: int
    unhealthy_threshold: int
    deregistration_delay: float


@dataclass(frozen=True)
class Listener:
    """A listener that forwards; one that only redirects or answers by itself has no part here."""

    arn: str
    port: int
    protocol: str
    target_group_arns: tuple[str, ...]


@dataclass(frozen=True)
class Service:
    """An ECS service: how many tasks of which definition, behind which target groups."""

    arn: str
    name: str
    desired_count: int
    task_definition: TaskDefinition
    target_group_arns: tuple[str, ...]
    minimum_healthy_percent: int
    maximum_percent: int
    health_check_grace_period: float
    circuit_breaker: bool
    rollback: bool


@dataclass(frozen=True)
class Schedule:
    """An EventBridge schedule that runs tasks."""

    arn: str
    name: str
    enabled: bool
    expression: str
    timezone: str
    start: str | None
    end: str | None
    task_definition: TaskDefinition
    task_count: int


@dataclass(frozen=True)
class Stack:
    """All that the runner plays, keyed by ARN where order says nothing."""

    services: Mapping[str, Service]
    target_groups: Mapping[str, TargetGroup]
    listeners: tuple[Listener, ...]
    schedules: Mapping[str, Schedule]
    policies: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The policy documents of each role, by the role's name."""

    @classmethod
    def empty(cls) -> Stack:
        return cls({}, {}, (), {})


def read_stack(resources: Sequence[Mapping[str, Any]]) -> Stack:
    """The runner's view of `deployment.resources`.

    A resource that is waiting for its deletion has no part. Raises RunnerError that names the resource (URN), the key,
    the value and what is allowed.
    """
    access_points = {
        str(outputs.get("id") or urn): str((outputs.get("rootDirectory") or {}).get("path") or "/")
        for urn, outputs in _of_type(resources, "aws:efs/accessPoint:AccessPoint")
    }
    definitions = [
        parse_task_definition(urn, outputs, access_points)
        for urn, outputs in _of_type(resources, "aws:ecs/taskDefinition:TaskDefinition")
    ]
    target_groups = (_target_group(urn, o) for urn, o in _of_type(resources, "aws:lb/targetGroup:TargetGroup"))
    bounds = _bounds(resources)
    services = (_service(urn, o, definitions, bounds) for urn, o in _of_type(resources, "aws:ecs/service:Service"))
    listeners = (_listener(urn, o) for urn, o in _of_type(resources, "aws:lb/listener:Listener"))
    schedules = (_schedule(urn, o, definitions) for urn, o in _of_type(resources, "aws:scheduler/schedule:Schedule"))
    return Stack(
        services={service.arn: service for service in services},
        target_groups={group.arn: group for group in target_groups},
        listeners=tuple(listener for listener in listeners if listener is not None),
        schedules={schedule.arn: schedule for schedule in schedules if schedule is not None},
        policies=_policies(resources),
    )


def find_definition(reference: str, definitions: Sequence[TaskDefinition]) -> TaskDefinition | None:
    """The definition that an ARN, a `family:revision` or a bare family (then its newest revision) names."""
    name = reference.rsplit("/", 1)[-1]
    family, _, revision = name.partition(":")
    if revision and revision != "*":
        return next((d for d in definitions if d.arn == reference or f"{d.family}:{d.revision}" == name), None)
    return max((d for d in definitions if d.family == family), key=lambda d: d.revision, default=None)


def reveal(value: Any) -> Any:
    """`value` with every secret in it opened. Raises RunnerError for a state exported with its secrets closed."""
    if isinstance(value, Mapping):
        if _SIGNATURE_KEY in value and ("plaintext" in value or "ciphertext" in value):
            if "plaintext" not in value:
                raise RunnerError("the stack was exported with encrypted secrets: export it with --show-secrets")
            try:
                return json.loads(value["plaintext"])
            except ValueError:
                return value["plaintext"]
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in value]
    return value


def _of_type(resources: Sequence[Mapping[str, Any]], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for resource in resources:
        if resource.get("type") == kind and not resource.get("delete"):
            outputs = {**(resource.get("inputs") or {}), **(resource.get("outputs") or {})}
            yield str(resource.get("urn")), reveal({"id": resource.get("id"), **outputs})


def _require(urn: str, outputs: Mapping[str, Any], key: str) -> Any:
    value = outputs.get(key)
    if value is None or value == "":
        raise RunnerError(f"{urn}: {key} is {value!r}; the runner needs a value: deploy the stack again")
    return value


def _policies(resources: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for urn, outputs in _of_type(resources, "aws:iam/rolePolicy:RolePolicy"):
        document = _require(urn, outputs, "policy")
        policy = json.loads(document) if isinstance(document, str) else document
        found.setdefault(str(_require(urn, outputs, "role")), []).append(policy)
    return found


def _target_group(urn: str, outputs: Mapping[str, Any]) -> TargetGroup:
    check = outputs.get("healthCheck") or {}
    # Defaults of the provider: https://www.pulumi.com/registry/packages/aws/api-docs/lb/targetgroup/
    return TargetGroup(
        arn=str(_require(urn, outputs, "arn")),
        health_path=str(check.get("path") or "/"),
        health_matcher=str(check.get("matcher") or "200"),
        health_interval=float(check.get("interval") or 30),
        health_timeout=float(check.get("timeout") or 5),
        healthy_threshold=int(check.get("healthyThreshold") or 3),
        unhealthy_threshold=int(check.get("unhealthyThreshold") or 3),
        deregistration_delay=_number(outputs.get("deregistrationDelay"), 300),
    )


def _listener(urn: str, outputs: Mapping[str, Any]) -> Listener | None:
    groups: list[str] = []
    for action in outputs.get("defaultActions") or []:
        if action.get("type") != "forward":
            continue
        weighted = (action.get("forward") or {}).get("targetGroups") or []
        groups += [str(group["arn"]) for group in weighted if _number(group.get("weight"), 1) > 0]
        if action.get("targetGroupArn"):
            groups.append(str(action["targetGroupArn"]))
    if not groups:
        return None
    return Listener(
        arn=str(_require(urn, outputs, "arn")),
        port=int(_number(outputs.get("port"), 80)),
        protocol=str(outputs.get("protocol") or "HTTP"),
        target_group_arns=tuple(dict.fromkeys(groups)),
    )


def _bounds(resources: Sequence[Mapping[str, Any]]) -> Mapping[str, tuple[int, int]]:
    """The fewest and the most tasks of each service that has a scalable target, by `service/<cluster>/<name>`."""
    return {
        str(outputs.get("resourceId")): (
            int(_number(outputs.get("minCapacity"), 0)),
            int(_number(outputs.get("maxCapacity"), 0)),
        )
        for _, outputs in _of_type(resources, "aws:appautoscaling/target:Target")
    }


def _count(outputs: Mapping[str, Any], name: str, bounds: Mapping[str, tuple[int, int]]) -> int:
    # The provider's own default is 0 (its documentation of desired_count).
    desired = int(_number(outputs.get("desiredCount"), 0))
    cluster = str(outputs.get("cluster") or "default").rsplit("/", 1)[-1]
    # Registering a target, or changing its bounds, brings the count between them.
    # https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
    low, high = bounds.get(f"service/{cluster}/{name}", (desired, desired))
    return min(max(desired, low), high)


def _service(
    urn: str, outputs: Mapping[str, Any], definitions: Sequence[TaskDefinition], bounds: Mapping[str, tuple[int, int]]
) -> Service:
    breaker = outputs.get("deploymentCircuitBreaker") or {}
    reference = str(_require(urn, outputs, "taskDefinition"))
    balancers = outputs.get("loadBalancers") or []
    name = str(outputs.get("name") or urn.rsplit("::", 1)[-1])
    return Service(
        arn=str(outputs.get("arn") or _require(urn, outputs, "id")),
        name=name,
        desired_count=_count(outputs, name, bounds),
        task_definition=_definition(urn, "taskDefinition", reference, definitions),
        target_group_arns=tuple(str(b["targetGroupArn"]) for b in balancers if b.get("targetGroupArn")),
        minimum_healthy_percent=int(_number(outputs.get("deploymentMinimumHealthyPercent"), 100)),
        maximum_percent=int(_number(outputs.get("deploymentMaximumPercent"), 200)),
        health_check_grace_period=_number(outputs.get("healthCheckGracePeriodSeconds"), 0),
        circuit_breaker=bool(breaker.get("enable")),
        rollback=bool(breaker.get("rollback")),
    )


def _schedule(urn: str, outputs: Mapping[str, Any], definitions: Sequence[TaskDefinition]) -> Schedule | None:
    target = outputs.get("target") or {}
    ecs = target.get("ecsParameters")
    if not ecs:
        return None
    if target.get("input"):
        raise RunnerError(f"{urn}: target.input (overrides of a task) is not played; give the task its own definition")
    reference = str(_require(urn, ecs, "taskDefinitionArn"))
    return Schedule(
        arn=str(outputs.get("arn") or _require(urn, outputs, "id")),
        name=str(outputs.get("name") or urn.rsplit("::", 1)[-1]),
        enabled=str(outputs.get("state") or "ENABLED") == "ENABLED",
        expression=str(_require(urn, outputs, "scheduleExpression")),
        timezone=str(outputs.get("scheduleExpressionTimezone") or "UTC"),
        start=outputs.get("startDate") or None,
        end=outputs.get("endDate") or None,
        task_definition=_definition(urn, "target.ecsParameters.taskDefinitionArn", reference, definitions),
        task_count=int(_number(ecs.get("taskCount"), 1)),
    )


def _definition(urn: str, key: str, reference: str, definitions: Sequence[TaskDefinition]) -> TaskDefinition:
    definition = find_definition(reference, definitions)
    if definition is None:
        known = ", ".join(sorted(f"{d.family}:{d.revision}" for d in definitions)) or "none"
        raise RunnerError(f"{urn}: {key} names {reference!r}, which the stack has not; it has: {known}")
    return definition


def _number(value: Any, default: float) -> float:
    return float(default) if value is None or value == "" else float(value)
