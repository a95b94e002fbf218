from __future__ import annotations

import json
from typing import Any

import pytest

from local.runner import RunnerError
from local.runner.stack import find_definition, read_stack, reveal
from tests.local.runner.fakes import (
    GROUP,
    api_stack,
    listener,
    resource,
    schedule,
    service,
    target_group,
    task_definition,
)

SECRET = "4dabf18193072939515e22adb298388d"


def test_reads_a_service_with_its_definition_and_target_groups() -> None:
    stack = read_stack(api_stack(desiredCount=2, healthCheckGracePeriodSeconds=7))
    (found,) = stack.services.values()
    assert (found.name, found.desired_count, found.health_check_grace_period) == ("api", 2, 7)
    assert found.target_group_arns == (GROUP,)
    assert (found.circuit_breaker, found.rollback) == (True, True)
    assert found.task_definition.command == ("api",)
    assert stack.target_groups[GROUP].health_path == "/health"
    assert stack.listeners[0].target_group_arns == (GROUP,)


def test_opens_container_definitions_that_are_a_secret() -> None:
    definition = task_definition()
    plain = definition["outputs"]["containerDefinitions"]
    definition["outputs"]["containerDefinitions"] = {
        SECRET: "1b47061264138c4ac30d75fd1eb44270",
        "plaintext": json.dumps(plain),
    }
    (found,) = read_stack([definition, service(balanced=False)]).services.values()
    assert found.task_definition.command == ("api",)


def test_says_how_to_export_when_a_secret_is_closed() -> None:
    with pytest.raises(RunnerError, match="--show-secrets"):
        reveal({"a": [{SECRET: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:…"}]})


def test_leaves_out_what_waits_for_its_deletion() -> None:
    assert not read_stack([task_definition(), service(balanced=False) | {"delete": True}]).services


def test_names_the_resource_and_the_definition_that_is_missing() -> None:
    with pytest.raises(RunnerError, match=r"Service::api: taskDefinition names .*api:9.*it has: api:1"):
        read_stack([task_definition(), service(revision=9, balanced=False)])


@pytest.mark.parametrize(
    ("reference", "revision"),
    [
        ("arn:aws:ecs:eu-west-1:123456789012:task-definition/api:2", 2),
        ("api:2", 2),
        ("arn:aws:ecs:eu-west-1:123456789012:task-definition/api", 10),
        ("api:*", 10),
        ("other", None),
        ("api:3", None),
    ],
)
def test_a_family_without_a_revision_is_its_newest_one(reference: str, revision: int | None) -> None:
    definitions = [
        found.task_definition
        for n in (2, 10, 9)
        for found in read_stack([task_definition("api", n), service(revision=n, balanced=False)]).services.values()
    ]
    found = find_definition(reference, definitions)
    assert (found.revision if found else None) == revision


def test_a_listener_that_only_redirects_has_no_part() -> None:
    assert not read_stack([listener(defaultActions=[{"type": "redirect"}])]).listeners


def test_a_weighted_forward_names_the_groups_that_have_weight() -> None:
    groups = [{"arn": "a", "weight": 1}, {"arn": "b", "weight": 0}]
    action: dict[str, Any] = {"type": "forward", "forward": {"targetGroups": groups}}
    (found,) = read_stack([listener(defaultActions=[action])]).listeners
    assert found.target_group_arns == ("a",)


def test_target_group_defaults_are_the_providers() -> None:
    (group,) = read_stack([resource("aws:lb/targetGroup:TargetGroup", "g", {"arn": "g"})]).target_groups.values()
    assert (group.health_path, group.health_matcher, group.healthy_threshold) == ("/", "200", 3)
    assert (group.health_interval, group.deregistration_delay) == (30, 300)
    assert read_stack([target_group()]).target_groups[GROUP].deregistration_delay == 10


def test_a_schedule_of_another_target_has_no_part() -> None:
    assert not read_stack([schedule(target={"arn": "lambda"})]).schedules


def test_refuses_the_overrides_that_it_would_not_play() -> None:
    target = {"ecsParameters": {"taskDefinitionArn": "sweep"}, "input": "{}"}
    with pytest.raises(RunnerError, match=r"target\.input"):
        read_stack([task_definition("sweep"), schedule(target=target)])


@pytest.mark.parametrize(("bounds", "count"), [((2, 2), 2), ((5, 9), 5), ((1, 9), 3)])
def test_a_count_is_between_the_bounds_of_its_scalable_target(bounds: tuple[int, int], count: int) -> None:
    scalable = {"resourceId": "service/main/api", "minCapacity": bounds[0], "maxCapacity": bounds[1]}
    target = resource("aws:appautoscaling/target:Target", "api-scaling", scalable)
    cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/main"
    running = service(balanced=False, desiredCount=3, cluster=cluster)
    (found,) = read_stack([task_definition(), running, target]).services.values()
    assert found.desired_count == count
