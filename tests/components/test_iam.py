from __future__ import annotations

import json

import pulumi

from components import Statement
from components.iam import policy, trust
from components.place import Place
from tests.components.deployment import deploy


def _exported(make: object) -> object:
    def program() -> None:
        assert callable(make)
        pulumi.export("document", make())

    return json.loads(deploy(program).outputs["document"])


def test_a_policy_says_what_its_statements_say_with_outputs_filled_in() -> None:
    def make() -> pulumi.Output[str]:
        statement = Statement(
            actions=("b:Second", "a:First"),
            resources=(pulumi.Output.from_input("arn:one"), "arn:two"),
            conditions={"StringEquals": {"key": pulumi.Output.from_input("value")}},
        )
        return policy([statement])

    assert _exported(make) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["a:First", "b:Second"],
                "Resource": ["arn:one", "arn:two"],
                "Condition": {"StringEquals": {"key": "value"}},
            }
        ],
    }


def test_a_role_is_trusted_to_one_service_acting_for_this_account() -> None:
    def make() -> pulumi.Output[str]:
        place = Place.of(pulumi.ComponentResource("test:index:Place", "place"))
        return trust("ecs-tasks.amazonaws.com", place, source_arn=place.arn("ecs", "*"))

    document = _exported(make)
    assert isinstance(document, dict)
    (statement,) = document["Statement"]
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-west-1:123456789012:*"},
    }
