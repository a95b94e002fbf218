from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    DiffRequest,
    InvokeRequest,
    ParameterizeRequest,
    ParametersValue,
    UpdateRequest,
)

from local.providers.aws.plugin import AwsStandIn
from local.providers.docker.plugin import DockerStandIn
from local.providers.passed_through import PassedThrough
from local.providers.random.plugin import RandomStandIn
from local.providers.standin import StandIn
from local.providers.values import UNKNOWN, from_plain, is_known, to_plain

URN = "urn:pulumi:local::p::parent:index:Parent${type}::{name}"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE = "aws:ecs/service:Service"
PARAMETER = "aws:ssm/parameter:Parameter"


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


def planned_creation(provider: StandIn, token: str, inputs: dict[str, Any]) -> Any:
    request = CreateRequest(URN.format(type=token, name="api"), from_plain(inputs), 0, True)
    answer = asyncio.run(provider.create(request))
    assert answer.resource_id == ""
    return answer.properties


def planned_update(provider: StandIn, token: str, old: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    urn = URN.format(type=token, name="api")
    request = UpdateRequest(urn, "id", from_plain(old), from_plain(news), timeout=0, ignore_changes=[], preview=True)
    return to_plain(asyncio.run(provider.update(request)).properties)


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
        (SERVICE, {"taskDefinition": "a:1"}, {"taskDefinition": "a:2"}, []),
        (SERVICE, {"launchType": "FARGATE"}, {}, ["launchType"]),
        # Since ECS can change it: `internal/service/ecs/service.go` sends it with UpdateService, and replaces for it no more.
        (SERVICE, {"deploymentController": {"type": "CODE_DEPLOY"}}, {"deploymentController": {"type": "ECS"}}, []),
        (TARGET_GROUP, {"port": 80}, {"port": 8080}, ["port"]),
        ("aws:ec2/securityGroup:SecurityGroup", {"description": "a"}, {"description": "b"}, ["description"]),
    ],
)
def test_changes_update_or_replace(provider: AwsStandIn, token: str, old: Any, new: Any, replaces: list[str]) -> None:
    answer = diff(provider, token, old, new)
    assert answer.changes is True
    assert answer.replaces == replaces


def test_what_is_not_known_yet_counts_as_changed(provider: AwsStandIn) -> None:
    answer = diff(provider, SERVICE, {"taskDefinition": "a:1"}, {"taskDefinition": UNKNOWN})
    assert answer.changes is True


def test_the_engine_asks_for_the_plan_itself() -> None:
    # Without it the engine answers with the inputs: sdk/go/common/resource/plugin/provider_plugin.go of pulumi/pulumi.
    answer = asyncio.run(AwsStandIn().configure(ConfigureRequest({}, {}, False, False)))
    assert answer.supports_preview is True


def test_what_is_to_be_created_has_its_inputs_its_name_and_no_more(provider: AwsStandIn) -> None:
    provider.configured({"region": "eu-west-1", "defaultTags": {"tags": {"team": "a"}}})
    inputs = to_plain(check(provider, SERVICE, {"cluster": UNKNOWN, "iamRole": None, "tags": {"one": "b"}}).inputs)
    assert to_plain(planned_creation(provider, SERVICE, inputs)) == {
        "name": inputs["name"],
        "cluster": UNKNOWN,
        "tags": {"one": "b"},
        "arn": UNKNOWN,
        "region": "eu-west-1",
        "tagsAll": {"team": "a", "one": "b"},
    }
    planned = to_plain(
        planned_creation(provider, "aws:ec2/vpc:Vpc", {"tags": {"one": UNKNOWN}, "instanceTenancy": None})
    )
    assert planned["tagsAll"] is UNKNOWN
    assert planned["instanceTenancy"] is UNKNOWN
    assert "tagsAll" not in planned_creation(provider, "aws:ec2/route:Route", {})


def test_a_plan_keeps_secrets_and_sends_no_write_only_value(provider: AwsStandIn) -> None:
    password = planned_creation(RandomStandIn(), "random:index/randomPassword:RandomPassword", {"length": 32})
    assert password["result"].is_secret and to_plain(password)["result"] is UNKNOWN
    assert to_plain(password)["numeric"] is True
    parameter = to_plain(planned_creation(provider, PARAMETER, {"name": "a", "valueWo": "x", "valueWoVersion": 1}))
    assert parameter["valueWo"] is None


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ({"tags": {"a": "b"}}, set()),
        ({"value": "y"}, {"version"}),
        ({"value": UNKNOWN}, {"value", "version"}),
        ({"description": "y"}, {"version"}),
        ({"valueWoVersion": 2}, {"hasValueWo"}),
    ],
)
def test_what_is_to_be_updated_keeps_what_the_provider_plans_no_change_of(
    provider: AwsStandIn, change: dict[str, Any], unknown: set[str]
) -> None:
    inputs = {"name": "a", "value": "x", "valueWoVersion": 1}
    computed = {"arn": "arn:…", "version": 3, "tier": "Standard", "dataType": "text", "hasValueWo": True}
    old = inputs | computed | {"region": "us-east-1", "tagsAll": {}}
    planned = planned_update(provider, PARAMETER, old, inputs | change)
    assert {key for key, value in planned.items() if value is UNKNOWN} == unknown
    for key in computed.keys() - unknown:
        assert planned[key] == old[key]
    assert planned["tagsAll"] == change.get("tags", {})


def test_an_image_has_a_digest_only_when_it_is_built() -> None:
    inputs = {"imageName": "r/a:latest", "build": {"context": "."}}
    old = inputs | {"repoDigest": "r/a@sha256:0", "baseImageName": "r/a:latest"}
    planned = planned_update(DockerStandIn(), "docker:index/image:Image", old, inputs)
    assert planned["repoDigest"] is UNKNOWN
    assert planned["imageName"] == "r/a:latest"


def test_a_package_without_a_stand_in_is_parameterized_by_its_sdk_alone() -> None:
    stand_in = StandIn("terraform-provider")
    answer = asyncio.run(stand_in.parameterize(ParameterizeRequest(ParametersValue("netbox", "1.2.3", b""))))
    assert (answer.name, answer.version) == ("netbox", "1.2.3")


def test_values_go_there_and_back() -> None:
    values = {"a": [1, 2.5, True, None, "x"], "b": {"c": UNKNOWN, "d": {}}}
    assert to_plain(from_plain(values)) == values
    assert is_known(values["a"]) and not is_known(values)
    assert to_plain({"s": PropertyValue("x", is_secret=True)}) == {"s": "x"}


def test_what_is_not_known_yet_is_what_the_engine_takes_for_it() -> None:
    sent = PropertyValue.marshal_map(from_plain({"a": UNKNOWN, "b": [UNKNOWN]}))
    # `UnknownStringValue` of pulumi/pulumi, sdk/go/common/resource/plugin/rpc.go.
    assert sent["a"] == sent["b"][0] == "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    assert to_plain(PropertyValue.unmarshal_map(sent)) == {"a": UNKNOWN, "b": [UNKNOWN]}
