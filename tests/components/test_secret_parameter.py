from __future__ import annotations

import pulumi
import pytest

from components import SecretParameter
from components.iam import policy
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


def test_without_a_value_a_random_one_is_made_once_and_left_alone(generated: Deployment) -> None:
    parameter = generated.one(":Parameter")
    assert len(parameter.inputs["valueWo"]) == 43  # 256 bits in base64
    assert list(parameter.options.ignoreChanges) == ["valueWo", "valueWoVersion"]
    again = deploy(lambda: SecretParameter("api-token")).one(":Parameter")
    assert again.inputs["valueWo"] != parameter.inputs["valueWo"]
    assert again.inputs["valueWoVersion"] == parameter.inputs["valueWoVersion"]


def test_a_changed_value_is_written_and_an_unchanged_one_is_not() -> None:
    first, same, other = (_given(value).one(":Parameter") for value in ("one" * 8, "one" * 8, "two" * 8))
    assert not first.options.ignoreChanges
    assert first.inputs["valueWo"] == "one" * 8
    assert first.inputs["valueWoVersion"] == same.inputs["valueWoVersion"] != other.inputs["valueWoVersion"]
    assert 0 <= first.inputs["valueWoVersion"] < 2**31


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
