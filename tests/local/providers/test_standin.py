from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckRequest,
    DiffRequest,
    InvokeRequest,
    ParameterizeRequest,
    ParametersValue,
)

from local.providers.aws.plugin import AwsStandIn
from local.providers.passed_through import PassedThrough
from local.providers.standin import StandIn
from local.providers.values import UNKNOWN, from_plain, is_known, to_plain

URN = "urn:pulumi:local::p::parent:index:Parent${type}::{name}"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"


@pytest.fixture
def provider() -> AwsStandIn:
    return AwsStandIn()


def check(
    provider: StandIn, token: str, news: dict[str, Any], olds: dict[str, Any] | None = None, name: str = "api"
) -> Any:
    request = CheckRequest(URN.format(type=token, name=name), from_plain(olds or {}), from_plain(news), b"seed")
    return asyncio.run(provider.check(request))


def diff(provider: StandIn, token: str, old: dict[str, Any], news: dict[str, Any]) -> Any:
    request = DiffRequest(URN.format(type=token, name="api"), "id", from_plain(old), from_plain(news), [])
    return asyncio.run(provider.diff(request))


def test_a_type_that_is_not_there_is_named(provider: AwsStandIn) -> None:
    [failure] = check(provider, "aws:redshift/cluster:Cluster", {}).failures
    assert "aws:redshift/cluster:Cluster" in failure.reason


def test_in_a_preview_a_type_that_is_not_there_is_noted_and_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_PASSED_THROUGH", str(tmp_path / "note"))
    for name in ("one", "one", "two"):
        answer = check(
            AwsStandIn(), "aws:redshift/cluster:Cluster", {"clusterIdentifier": "c", "nodeType": "n"}, name=name
        )
        assert not answer.failures and set(answer.inputs) == {"clusterIdentifier", "nodeType"}
    # A replacement checks its inputs twice.
    note = PassedThrough(tmp_path / "note").take()
    assert note is not None and "2 aws:redshift/cluster:Cluster" in note
    assert PassedThrough(tmp_path / "note").take() is None


def test_in_a_preview_the_names_of_what_is_passed_through_are_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_PASSED_THROUGH", str(tmp_path / "note"))
    failures = check(AwsStandIn(), "aws:redshift/cluster:Cluster", {"clusterIdentifer": "c"}).failures
    assert failures[0].reason == "clusterIdentifer: there is no such property; did you mean 'clusterIdentifier'?"
    assert PassedThrough(tmp_path / "note").take() is None


def test_a_function_that_is_not_there_is_named(provider: AwsStandIn) -> None:
    answer = asyncio.run(provider.invoke(InvokeRequest("aws:lambda/getFunction:getFunction", {})))
    assert "aws:lambda/getFunction:getFunction" in answer.failures[0].reason


def test_a_name_is_made_kept_and_made_anew_for_a_replacement(provider: AwsStandIn) -> None:
    made = to_plain(check(provider, TARGET_GROUP, {}).inputs)["name"]
    assert made.startswith("api-") and len(made) == len("api-") + 7
    assert to_plain(check(provider, TARGET_GROUP, {}, {"name": "api-1234567"}).inputs)["name"] == "api-1234567"
    assert to_plain(check(provider, TARGET_GROUP, {"name": "mine"}).inputs)["name"] == "mine"
    assert to_plain(check(provider, TARGET_GROUP, {"namePrefix": "x-"}).inputs)["name"].startswith("x-")


def test_a_name_that_gets_too_long_is_an_error_that_says_so(provider: AwsStandIn) -> None:
    with pytest.raises(ValueError, match="32 are allowed"):
        check(provider, TARGET_GROUP, {}, name="a-name-that-is-longer-than-it-may-be")


def test_nothing_changes_when_nothing_has(provider: AwsStandIn) -> None:
    inputs = {"family": "api", "cpu": "256"}
    state = inputs | {"arn": "arn:…", "revision": 1, "tagsAll": {}, "region": "us-east-1", "arnWithoutRevision": "a"}
    assert diff(provider, DEFINITION, state, inputs).changes is False


@pytest.mark.parametrize(
    ("token", "old", "new", "replaces"),
    [
        (DEFINITION, {"cpu": "256"}, {"cpu": "512"}, ["cpu"]),
        (DEFINITION, {"tags": {"a": "b"}}, {}, []),
        ("aws:ecs/service:Service", {"taskDefinition": "a:1"}, {"taskDefinition": "a:2"}, []),
        ("aws:ecs/service:Service", {"launchType": "FARGATE"}, {}, ["launchType"]),
        (TARGET_GROUP, {"port": 80}, {"port": 8080}, ["port"]),
        ("aws:ec2/securityGroup:SecurityGroup", {"description": "a"}, {"description": "b"}, ["description"]),
    ],
)
def test_changes_update_or_replace(provider: AwsStandIn, token: str, old: Any, new: Any, replaces: list[str]) -> None:
    answer = diff(provider, token, old, new)
    assert answer.changes is True
    assert answer.replaces == replaces


def test_what_is_not_known_yet_counts_as_changed(provider: AwsStandIn) -> None:
    answer = diff(provider, "aws:ecs/service:Service", {"taskDefinition": "a:1"}, {"taskDefinition": UNKNOWN})
    assert answer.changes is True


def test_a_package_without_a_stand_in_is_parameterized_by_its_sdk_alone() -> None:
    stand_in = StandIn("terraform-provider")
    answer = asyncio.run(stand_in.parameterize(ParameterizeRequest(ParametersValue("netbox", "1.2.3", b""))))
    assert (answer.name, answer.version) == ("netbox", "1.2.3")


def test_values_go_there_and_back() -> None:
    values = {"a": [1, 2.5, True, None, "x"], "b": {"c": UNKNOWN, "d": {}}}
    assert to_plain(from_plain(values)) == values
    assert is_known(values["a"]) and not is_known(values)
    assert to_plain({"s": PropertyValue("x", is_secret=True)}) == {"s": "x"}
