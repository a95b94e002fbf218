from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

import components
from components import (
    ApiService,
    ArgumentError,
    BacklogScaling,
    Bucket,
    Component,
    Https,
    Network,
    Queue,
    Scaling,
    ScheduledTask,
    SecretParameter,
    WorkerService,
)
from components.overrides import child_of, merged
from tests.components import parts
from tests.components.deployment import Deployment, deploy


def _everything() -> None:
    network = Network("network", vpc="own", availability_zones=2, nat_gateways="per-az")
    cluster, image = parts.cluster(network=network), parts.image()
    queue, uses = Queue("jobs"), [parts.volume(network).mounted_at("/mnt/files")]
    shared: dict[str, Any] = {"cluster": cluster, "image": image, "size": parts.SMALL, "uses": uses}
    Bucket("emails", protected=False)
    SecretParameter("token")
    ApiService(
        "api",
        health_path="/",
        scaling=Scaling(min=1, max=2),
        https=Https(domain_name="files.example.com", hosted_zone_name="example.com"),
        **shared,
    )
    WorkerService("worker", scaling=BacklogScaling(queue=queue, min=0, max=2), **shared)
    ScheduledTask("sweep", schedule="rate(1 hour)", **shared)


@pytest.fixture(scope="module")
def everything() -> Deployment:
    return deploy(_everything)


def _kinds() -> list[type[Component]]:
    found = (getattr(components, name) for name in components.__all__)
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, Component) and kind is not Component]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_a_component_says_all_of_its_children_and_their_types(kind: type[Component], everything: Deployment) -> None:
    assert kind.children is not None
    found = list(_children(kind, everything))
    assert found
    named = set()
    for child, type_ in found:
        pattern = next((known for known in kind.children if fnmatch.fnmatchcase(child, known)), None)
        assert pattern is not None, child
        assert kind.children[pattern] == type_, child
        named.add(pattern)
    assert set(kind.children) == named


def _children(kind: type[Component], deployment: Deployment) -> Iterator[tuple[str, str]]:
    for resource in deployment.resources:
        chain, name = resource.parent.split("::", 1) if resource.options.custom else ("", "")
        inner = [part.rpartition(":")[2] for part in chain.split("$") if part]
        if kind.__name__ in inner:
            # The parts of a component bear its name.
            yield child_of(name, resource.name, resource.type), resource.type


def test_a_mapping_is_merged_into_what_the_component_sets_and_a_list_replaces_it() -> None:
    def program() -> None:
        parts.api(
            overrides={
                "tg": {"health_check": {"matcher": "200-299"}, "deregistration_delay": None},
                "service": {"deployment_circuit_breaker": {"rollback": False}, "load_balancers": []},
                "tasks": {"tags": {"team": "a"}},
            }
        )

    deployment = deploy(program)
    group = deployment.one(":TargetGroup").inputs
    assert group["healthCheck"] == {
        "path": "/healthcheck",
        "matcher": "200-299",
        "interval": 10,
        "timeout": 5,
        "healthyThreshold": 2,
        "unhealthyThreshold": 3,
    }
    assert "deregistrationDelay" not in group
    service = deployment.one(":Service").inputs
    assert service["deploymentCircuitBreaker"] == {"enable": True, "rollback": False}
    assert service["loadBalancers"] == []
    assert set(deployment.one(":SecurityGroup", "api-tasks").inputs["tags"]) == {"Name", "team"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 1}, {"a": {"b": 3}}, {"a": {"b": 3}}),
        ({}, {"a": {"b": 3}}, {"a": {"b": 3}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ],
)
def test_what_is_merged(old: Mapping[str, Any], new: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert merged(old, new) == expected


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"servcie": {}}, "did you mean service"),
        ({"service": {"desired_cuont": 1}}, "did you mean desired_count"),
        ({"tg": {"health_check": {"matchr": "200"}}}, "did you mean matcher"),
        ({"service": {"load_balancers": [{"container_prot": 1}]}}, "did you mean container_port"),
        ({"service": {"network_configuration": {"subnet": []}}}, "did you mean subnets"),
        ({"tg": {"health_check": "200"}}, "the properties of TargetGroupHealthCheck"),
        ({"tg": {"deregistration_delay": "soon"}}, "a number"),
        ({"service": {"desired_count": "three"}}, "a number"),
        ({"service": {"enable_execute_command": "maybe"}}, "True or False"),
        ({"service": None}, "a mapping of properties to values"),
    ],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_a_name_that_does_not_exist_is_told_before_anything_is_registered(
    overrides: Any, said: str, enabled: bool
) -> None:
    def program() -> None:
        cluster, image = parts.cluster(), parts.image()
        with pytest.raises(ArgumentError, match=said):
            parts.api(cluster=cluster, image=image, overrides=overrides, enabled=enabled)

    assert not [resource.name for resource in deploy(program).resources if resource.name.startswith("api")]


class Site(Component):
    """Somebody's own component, which gives its parts any names and says nothing of its children."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        Queue("inbox", opts=self.options())
        aws.sns.Topic(name, opts=self.options())
        aws.sns.Topic("news", opts=self.options())
        self.finish({})


def test_a_component_of_one_s_own_has_any_children_and_overrides_reach_them() -> None:
    overrides = {
        "inbox": {"delay_seconds": 5},
        "inbox-dead-letters": {"max_message_size": 2048},
        "topic": {"display_name": "a"},
        "news": {"display_name": "b"},
    }
    deployment = deploy(lambda: Site("site", overrides=overrides))
    assert deployment.one(":Queue", "inbox").inputs["delaySeconds"] == 5
    assert deployment.one(":Queue", "inbox-dead-letters").inputs["maxMessageSize"] == 2048
    assert [deployment.one(":Topic", name).inputs["displayName"] for name in ("site", "news")] == ["a", "b"]
    with pytest.raises(ArgumentError, match="did you mean news"):
        deploy(lambda: Site("site", overrides={"new": {}}))
    with pytest.raises(ArgumentError, match="did you mean display_name"):
        deploy(lambda: Site("site", overrides={"news": {"displayname": "b"}}))


def test_an_override_of_a_child_that_is_not_made_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="'alias'"):
        deploy(lambda: parts.api(overrides={"alias": {"ttl": 60}}))


def test_an_override_that_is_in_the_wrong_place_shows_no_value() -> None:
    with pytest.raises(ArgumentError) as raised:
        deploy(lambda: SecretParameter("tok", overrides={"value_wo": "hunter2"}))  # type: ignore[dict-item]
    assert "hunter2" not in str(raised.value)


def test_two_components_do_not_come_to_one_name() -> None:
    with pytest.raises(ArgumentError, match=r"Queue 'jobs-dead-letters'(?s:.*)belongs to Queue 'jobs' already"):
        deploy(lambda: (Queue("jobs"), Queue("jobs-dead-letters")))
    with pytest.raises(ArgumentError, match="the Queue 'jobs' belongs to Queue 'jobs' already"):
        deploy(lambda: (Queue("jobs"), Queue("jobs")))
    # In the next program the names are free again.
    assert deploy(lambda: Queue("jobs-dead-letters")).names(":Queue")


def test_type_tokens_lead_to_the_sdk_s_classes() -> None:
    overrides_module = importlib.import_module("components.overrides")
    assert overrides_module._class_of("aws:lb/targetGroup:TargetGroup") is aws.lb.TargetGroup
    assert issubclass(overrides_module._class_of("docker:index/image:Image"), pulumi.CustomResource)
