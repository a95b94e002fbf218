"""Services of ECS: what the provider sends, what ECS makes of it, and what the state and the look-up say afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi_aws as aws
import pytest
from pulumi import _types

from local.paths import LocalPaths
from local.providers.aws.ecs import FUNCTIONS, ScalableTarget, Service
from local.providers.aws.ecs.record import records
from local.providers.aws.place import place_in
from local.providers.aws.plugin import AwsStandIn
from local.providers.aws.table import TABLE
from local.providers.kind import NotReady
from local.restore import undo_unfinished
from tests.local.providers.test_standin import check, diff

TOKEN = "aws:ecs/service:Service"
PLACE = place_in("eu-west-1")
CLUSTER = "arn:aws:ecs:eu-west-1:123456789012:cluster/main"
INPUTS: dict[str, Any] = {
    "name": "api-1234567",
    "cluster": CLUSTER,
    "taskDefinition": "api:1",
    "desiredCount": 2,
    "networkConfiguration": {"subnets": ["subnet-1"]},
    "loadBalancers": [{"containerName": "api", "containerPort": 8000}],
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "waitForSteadyState": True,
}
NEXT = INPUTS | {"taskDefinition": "api:2"}


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalPaths:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    return LocalPaths(tmp_path)


def service() -> Service:
    return Service(PLACE)


def made(inputs: dict[str, Any] = INPUTS) -> tuple[str, dict[str, Any]]:
    created = service().create("api", inputs)
    return created.id, inputs | created.computed


def fail(paths: LocalPaths, prefix: str = "api") -> None:
    paths.ecs_faults.write_text(json.dumps({prefix: "tasks failed to start"}))


def look(name: str = "api-1234567", cluster: str = CLUSTER) -> Any:
    return FUNCTIONS["aws:ecs/getService:getService"](PLACE, {"serviceName": name, "clusterArn": cluster})


def runs() -> tuple[str, int, int]:
    found = look()
    return found["taskDefinition"], found["runningCount"], found["desiredCount"]


def test_a_service_runs_what_it_was_created_with() -> None:
    identity, state = made()
    assert identity == state["arn"] == "arn:aws:ecs:eu-west-1:123456789012:service/main/api-1234567"
    assert runs() == ("api:1", 2, 2)
    assert [(one["status"], one["runningCount"]) for one in look()["deployments"]] == [("PRIMARY", 2)]
    assert service().read(identity, state) == state
    service().delete(identity, state)
    assert service().read(identity, state) is None
    with pytest.raises(ValueError, match="no matching ECS Service found: 'api-1234567' in the cluster 'main'"):
        look()


def test_the_look_up_has_every_attribute_of_the_data_source() -> None:
    made()
    found = look()
    assert set(found) == set(_types.output_type_types(aws.ecs.GetServiceResult))
    for key, result in (
        ("deployments", aws.ecs.outputs.GetServiceDeploymentResult),
        ("events", aws.ecs.outputs.GetServiceEventResult),
        ("deploymentConfigurations", aws.ecs.outputs.GetServiceDeploymentConfigurationResult),
        ("loadBalancers", aws.ecs.outputs.GetServiceLoadBalancerResult),
        ("networkConfigurations", aws.ecs.outputs.GetServiceNetworkConfigurationResult),
    ):
        assert set(found[key][0]) == set(_types.output_type_types(result)), key


def test_a_deployment_that_is_rolled_back_is_an_error_and_the_old_revision_runs(paths: LocalPaths) -> None:
    identity, state = made()
    fail(paths)
    news = NEXT | {"networkConfiguration": {"subnets": ["subnet-2"]}, "healthCheckGracePeriodSeconds": 60}
    with pytest.raises(NotReady, match=r"update: ECS deployment circuit breaker: tasks failed to start"):
        service().update(identity, state, news)
    assert runs() == ("api:1", 2, 2)
    # A refresh reads what runs; what no revision holds has been taken over.
    read = service().read(identity, state | news)
    assert read is not None
    assert read["taskDefinition"] == "api:1"
    assert read["networkConfiguration"] == {"subnets": ["subnet-1"]}
    assert read["healthCheckGracePeriodSeconds"] == 60
    messages = [event["message"] for event in look()["events"]]
    assert "rolling back to deployment ecs-svc/" in messages[0]
    assert messages[1].endswith("deployment failed: tasks failed to start.")


def test_after_a_failed_update_the_next_one_finds_nothing_to_do_and_succeeds(paths: LocalPaths) -> None:
    identity, state = made()
    fail(paths)
    with pytest.raises(NotReady):
        service().update(identity, state, NEXT)
    # The engine's state has the new inputs: no difference, no call, and the old revision runs on.
    service().update(identity, state | NEXT, NEXT)
    assert runs() == ("api:1", 2, 2)
    assert diff(AwsStandIn(), TOKEN, state | NEXT, NEXT).changes is False


def test_a_first_deployment_that_fails_leaves_a_service_without_tasks(paths: LocalPaths) -> None:
    fail(paths)
    with pytest.raises(NotReady, match="create: ECS deployment circuit breaker") as raised:
        service().create("api", INPUTS)
    identity, state = raised.value.made.id, INPUTS | raised.value.made.computed
    assert runs() == ("api:1", 0, 2)
    assert service().read(identity, state) == state, "nothing that a refresh could see"
    paths.ecs_faults.unlink()
    # Nothing more is started until there is another deployment.
    service().update(identity, state, INPUTS)
    assert runs() == ("api:1", 0, 2)
    with pytest.raises(NotReady, match="timeout"):
        service().update(identity, state, INPUTS | {"desiredCount": 3})
    service().update(identity, state | {"desiredCount": 3}, NEXT | {"desiredCount": 3})
    assert runs() == ("api:2", 3, 3)


@pytest.mark.parametrize(
    ("breaker", "words"),
    [({"enable": True, "rollback": False}, "circuit breaker"), ({"enable": False, "rollback": False}, "timeout")],
)
def test_without_a_rollback_older_tasks_run_beside_a_deployment_that_never_gets_ready(
    paths: LocalPaths, breaker: Any, words: str
) -> None:
    identity, state = made(INPUTS | {"deploymentCircuitBreaker": breaker})
    fail(paths)
    with pytest.raises(NotReady, match=words):
        service().update(identity, state, NEXT | {"deploymentCircuitBreaker": breaker})
    found = look()
    assert [(one["status"], one["taskDefinition"], one["runningCount"]) for one in found["deployments"]] == [
        ("PRIMARY", "api:2", 0),
        ("ACTIVE", "api:1", 2),
    ]
    assert found["runningCount"] == 2


def test_who_does_not_wait_hears_of_no_failure(paths: LocalPaths) -> None:
    identity, state = made(INPUTS | {"waitForSteadyState": False})
    fail(paths)
    service().update(identity, state, NEXT | {"waitForSteadyState": False})
    assert runs() == ("api:1", 2, 2)


def test_other_services_are_not_touched(paths: LocalPaths) -> None:
    identity, state = made()
    fail(paths, "worker")
    service().update(identity, state, NEXT)
    assert runs() == ("api:2", 2, 2)


def test_the_count_is_sent_only_when_it_changes() -> None:
    identity, state = made()
    with records() as services:
        services[identity]["definition"]["desiredCount"] = 7  # a scaler's
    service().update(identity, state, NEXT)
    assert runs() == ("api:2", 7, 7)
    service().update(identity, state | NEXT, NEXT | {"desiredCount": 3})
    assert runs() == ("api:2", 3, 3)


def test_only_a_revision_or_force_makes_a_deployment() -> None:
    identity, state = made()

    def deployment() -> str:
        return str(look()["deployments"][0]["id"])

    first = deployment()
    service().update(identity, state, INPUTS | {"desiredCount": 3, "healthCheckGracePeriodSeconds": 30})
    assert deployment() == first
    service().update(identity, state, INPUTS | {"tags": {"a": "b"}, "forceDelete": True})
    assert deployment() == first
    forced = INPUTS | {"forceNewDeployment": True}
    service().update(identity, state | forced, forced | {"desiredCount": 4})
    assert deployment() != first


@pytest.mark.parametrize(
    ("bounds", "count"),
    [({"minCapacity": 3, "maxCapacity": 5}, 3), ({"minCapacity": 0, "maxCapacity": 1}, 1), (None, 2)],
)
def test_a_scalers_bounds_bring_the_count_between_them(bounds: Any, count: int) -> None:
    made()
    target = ScalableTarget(TABLE["aws:appautoscaling/target:Target"], PLACE)
    inputs = {"serviceNamespace": "ecs", "resourceId": "service/main/api-1234567", "minCapacity": 1, "maxCapacity": 9}
    created = target.create("api", inputs)
    assert runs() == ("api:1", 2, 2)
    target.update(created.id, inputs, inputs | (bounds or {}))
    assert runs() == ("api:1", count, count)
    # Another service, and one that is none.
    target.create("api", inputs | {"resourceId": "service/main/other", "minCapacity": 5})
    target.create("api", inputs | {"serviceNamespace": "dynamodb", "minCapacity": 5})
    assert runs() == ("api:1", count, count)


SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
BOTH = [{"capacityProvider": "FARGATE", "weight": 1}, *SPOT]


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ({"capacityProviderStrategies": SPOT}, {"capacityProviderStrategies": BOTH}, True),
        ({}, {"capacityProviderStrategies": SPOT}, True),
        ({"capacityProviderStrategies": SPOT}, {}, True),
        ({"capacityProviderStrategies": SPOT}, {"capacityProviderStrategies": BOTH, "forceNewDeployment": True}, False),
        ({"capacityProviderStrategies": BOTH}, {"capacityProviderStrategies": BOTH[::-1]}, False),
    ],
)
def test_another_capacity_needs_a_new_deployment(old: Any, new: Any, refused: bool) -> None:
    if refused:
        with pytest.raises(ValueError, match="force_new_deployment should be true"):
            diff(AwsStandIn(), TOKEN, INPUTS | old, INPUTS | new)
    else:
        assert diff(AwsStandIn(), TOKEN, INPUTS | old, INPUTS | new).replaces == []


@pytest.mark.parametrize(("force", "changes"), [(True, True), (False, False)])
def test_triggers_count_with_force_alone(force: bool, changes: bool) -> None:
    old = INPUTS | {"triggers": {"a": "1"}, "forceNewDeployment": force}
    assert diff(AwsStandIn(), TOKEN, old, old | {"triggers": {"a": "2"}}).changes is changes


def test_a_service_that_an_interrupted_engine_may_have_made_is_undone() -> None:
    identity, _ = made()
    with pytest.raises(ValueError, match="exists already"):
        made()
    resource = {"urn": f"urn:pulumi:local::p::{TOKEN}::api", "type": TOKEN, "inputs": INPUTS}
    undo_unfinished({"pending_operations": [{"type": "creating", "resource": resource}]}, "http://unused")
    assert made()[0] == identity


def test_its_inputs_pass_the_check() -> None:
    assert not check(AwsStandIn(), TOKEN, INPUTS).failures


def test_what_is_written_down_goes_with_the_local_stack(paths: LocalPaths) -> None:
    made()
    fail(paths)
    assert {paths.ecs, paths.ecs_faults} <= set(paths.entries())
