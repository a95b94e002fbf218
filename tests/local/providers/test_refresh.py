"""What a refresh leaves of inputs and state: `ExtractInputsFromOutputs` of pulumi-terraform-bridge, `pkg/tfbridge/schema.go`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pulumi.provider.experimental.provider import ReadRequest

from local.providers.aws.plugin import AwsStandIn
from local.providers.refresh import inputs_from, is_write_only
from local.providers.values import from_plain, to_plain
from tests.local.providers.test_standin import URN, check, diff

PARAMETER = "aws:ssm/parameter:Parameter"


@pytest.fixture
def provider() -> AwsStandIn:
    return AwsStandIn()


@pytest.mark.parametrize(
    ("inputs", "state", "after"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2}),
        ({"a": 1, "gone": 2}, {"a": 1}, {"a": 1}),
        ({"n": {"a": 1, "gone": 2}}, {"n": {"a": 5, "computed": 1}}, {"n": {"a": 5}}),
        ({"l": [{"a": 1}, {"a": 2}]}, {"l": [{"a": 1, "b": 1}]}, {"l": [{"a": 1}]}),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1]}),
        ({"valueWo": "x"}, {"valueWo": None}, {"valueWo": None}),
    ],
)
def test_inputs_are_taken_from_what_there_is(inputs: Any, state: Any, after: Any) -> None:
    assert inputs_from(state, inputs) == after


@pytest.mark.parametrize(
    ("name", "write_only"),
    [("valueWo", True), ("secretStringWo", True), ("valueWoVersion", False), ("hasValueWo", False), ("Wo", False)],
)
def test_write_only_values_are_told_by_their_names(name: str, write_only: bool) -> None:
    assert is_write_only(name) is write_only


def read(provider: AwsStandIn, state: dict[str, Any], inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    request = ReadRequest(URN.format(type=PARAMETER, name="token"), "token", from_plain(state), from_plain(inputs))
    answer = asyncio.run(provider.read(request))
    return to_plain(answer.properties), to_plain(answer.inputs)


def test_a_refresh_nulls_write_only_values_and_nothing_changes_by_that(provider: AwsStandIn) -> None:
    inputs = {"name": "token", "type": "SecureString", "valueWo": "secret", "valueWoVersion": 1}
    state, after = read(provider, inputs | {"version": 1, "hasValueWo": True}, inputs)
    assert state["valueWo"] is None
    assert after == inputs | {"valueWo": None}
    assert diff(provider, PARAMETER, state, inputs).changes is False
    assert diff(provider, PARAMETER, state, inputs | {"valueWo": "other"}).changes is False
    assert diff(provider, PARAMETER, state, inputs | {"valueWoVersion": 2}).changes is True


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        # What ignore_changes makes of the inputs after a refresh: the null stands in for the program's value.
        ({"valueWo": None, "valueWoVersion": 1}, "one of `insecureValue,value,valueWo` must be specified"),
        ({}, "one of `insecureValue,value,valueWo` must be specified"),
        ({"value": "a", "insecureValue": "b"}, "only one of"),
        ({"valueWo": "a"}, "all of `valueWo,valueWoVersion` must be specified"),
        ({"value": "a", "valueWo": None}, None),
        ({"valueWo": "a", "valueWoVersion": 1}, None),
    ],
)
def test_a_parameter_needs_one_value_and_a_null_is_none(provider: AwsStandIn, values: Any, reason: str | None) -> None:
    failures = check(provider, PARAMETER, {"type": "SecureString"} | values).failures
    assert (failures[0].reason if failures else None) == reason or reason in failures[0].reason
