from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components import ArgumentError, SecretParameter
from components.iam import policy
from components.secret_parameter import GENERATED_LENGTH
from tests.components import cloud
from tests.components.deployment import Deployment, deploy, deploy_twice, statements


def _given(value: str) -> Deployment:
    return deploy(lambda: SecretParameter("api-token", value=pulumi.Output.secret(value)))


@pytest.fixture(scope="module")
def generated() -> Deployment:
    def program() -> None:
        parameter = SecretParameter("api-token")
        reading, injected = parameter.reading(), parameter.injected_as("TOKEN")
        pulumi.export("reading", policy(reading.statements))
        pulumi.export("reading-execution", reading.execution_statements)
        pulumi.export("environment", reading.environment)
        pulumi.export("injected", policy(injected.execution_statements))
        pulumi.export("injected-task", injected.statements)
        pulumi.export("secrets", injected.secrets)

    return deploy_twice(program)


def test_trap_52_the_value_goes_to_the_engine_as_a_secret_and_is_never_read_back(generated: Deployment) -> None:
    for deployment in (generated, _given("a-token-of-sixteen-or-more")):
        parameter = deployment.one(":Parameter")
        assert parameter.inputs["type"] == "SecureString"
        assert parameter.secret("valueWo")
        assert "value" not in parameter.inputs and "insecureValue" not in parameter.inputs
        assert {"value", "valueWo", "valueWoVersion", "insecureValue"} <= set(parameter.options.additionalSecretOutputs)


def test_without_a_value_a_random_one_is_made_once_by_a_resource(generated: Deployment) -> None:
    made = generated.one(":RandomPassword")
    assert made.inputs == {"length": GENERATED_LENGTH, "special": False}
    assert 62**GENERATED_LENGTH > 2**256  # letters and digits
    parameter = generated.one(":Parameter")
    assert parameter.inputs["valueWo"] == cloud.GENERATED
    assert parameter.inputs["valueWoVersion"] == 1


def test_the_value_is_not_ignored_so_that_a_refresh_that_empties_it_in_the_state_breaks_nothing(
    generated: Deployment,
) -> None:
    for deployment in (generated, _given("a-token-of-sixteen-or-more")):
        assert not {"valueWo", "valueWoVersion"} & set(deployment.one(":Parameter").options.ignoreChanges)


def test_a_rotation_outside_that_comes_with_a_description_stays(generated: Deployment) -> None:
    parameter = generated.one(":Parameter")
    # Setting a description back would put the parameter without its value. What is ignored is taken from the state, which
    # must have had one to begin with.
    assert parameter.inputs["description"] == "Made by ecs-file-ingest/test"
    assert list(parameter.options.ignoreChanges) == ["description"]
    overridden = deploy(lambda: SecretParameter("api-token", overrides={"parameter": {"description": "mine"}}))
    assert not overridden.one(":Parameter").options.ignoreChanges


def test_two_runs_of_the_program_register_the_same(generated: Deployment) -> None:
    again = deploy(lambda: SecretParameter("api-token"))
    for kind in (":Parameter", ":RandomPassword"):
        assert again.one(kind).raw_inputs == generated.one(kind).raw_inputs


def test_a_changed_value_is_written_and_an_unchanged_one_is_not() -> None:
    first, same, other = (_given(value).one(":Parameter") for value in ("one" * 8, "one" * 8, "two" * 8))
    assert first.inputs["valueWo"] == "one" * 8
    assert first.inputs["valueWoVersion"] == same.inputs["valueWoVersion"] != other.inputs["valueWoVersion"]
    assert 0 <= first.inputs["valueWoVersion"] < 2**31


def test_a_change_from_a_generated_value_to_a_given_one_and_back_is_written() -> None:
    versions = {_given(value).one(":Parameter").inputs["valueWoVersion"] for value in ("one" * 8, "two" * 8)}
    assert len(versions) == 2
    assert 1 not in versions


@pytest.mark.parametrize("value", [None, "one" * 8])
def test_another_property_is_never_put_with_an_empty_value(value: str | None) -> None:
    def version(**properties: Any) -> int:
        def program() -> None:
            secret = pulumi.Output.secret(value) if value else None
            SecretParameter("api-token", value=secret, overrides={"parameter": properties})

        return int(deploy(program).one(":Parameter").inputs["valueWoVersion"])

    # The provider puts a parameter with its write-only value only when the version changes, else with none.
    changes = [{}, {"description": "a"}, {"description": "b"}, {"key_id": "alias/own"}, {"tier": "Advanced"}]
    versions = [version(**properties) for properties in changes]
    assert len(set(versions)) == len(changes)
    assert version(description="a") == versions[1]
    # Tags have an action of their own, and leave a rotated value alone.
    assert version(tags={"team": "a"}) == versions[0]


def test_protected_it_cannot_be_deleted_and_a_value_may_still_be_given(generated: Deployment) -> None:
    deployment = deploy(lambda: SecretParameter("api-token", protected=True))
    assert deployment.one(":Parameter").options.protect
    # This one goes when a value is given.
    assert not deployment.one(":RandomPassword").options.protect
    assert not generated.one(":Parameter").options.protect


def test_what_follows_from_the_value_is_secret_as_well() -> None:
    assert _given("a-token-of-sixteen-or-more").one(":Parameter").secret("valueWoVersion")


def test_a_reader_may_get_this_parameter_and_learns_its_name(generated: Deployment) -> None:
    ((actions, resources, _),) = statements(generated.outputs["reading"])
    assert actions == ["ssm:GetParameter"]
    assert resources == ["arn:aws:ssm:eu-west-1:123456789012:api-token-1a2b3c4"]
    assert generated.outputs["environment"] == {"API_TOKEN_PARAMETER": "api-token-1a2b3c4"}
    assert not generated.outputs["reading-execution"]


def test_an_injected_secret_is_read_by_the_execution_role_and_not_by_the_task(generated: Deployment) -> None:
    ((actions, resources, _),) = statements(generated.outputs["injected"])
    assert actions == ["ssm:GetParameters"]
    assert [generated.outputs["secrets"]["TOKEN"]] == resources
    assert not generated.outputs["injected-task"]


@pytest.mark.parametrize("value", ["", "   ", "x" * 4097])
def test_a_value_that_no_parameter_holds_is_an_error_that_does_not_show_it(value: str) -> None:
    with pytest.raises(ArgumentError, match=r"value: \(secret, not shown\)"):
        deploy(lambda: SecretParameter("api-token", value=value))


def test_the_value_is_no_override() -> None:
    with pytest.raises(ArgumentError, match="give the value as the argument value") as raised:
        deploy(lambda: SecretParameter("api-token", overrides={"parameter": {"value_wo": "hunter2"}}))
    assert "hunter2" not in str(raised.value)
