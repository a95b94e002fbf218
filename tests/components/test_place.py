from __future__ import annotations

import re
from pathlib import Path

import pulumi

import components
from components.place import Place
from tests.components.deployment import deploy


def test_an_arn_is_in_the_provider_s_partition_region_and_account() -> None:
    def program() -> None:
        place = Place.of(pulumi.ComponentResource("test:index:Parent", "parent"))
        pulumi.export("arn", place.arn("ecs", pulumi.Output.concat("task-definition/", "family:*")))

    assert deploy(program).outputs["arn"] == "arn:aws:ecs:eu-west-1:123456789012:task-definition/family:*"


def test_trap_59_no_component_writes_a_partition_a_region_or_an_account_down() -> None:
    assert components.__file__ is not None
    for path in Path(components.__file__).parent.glob("*.py"):
        code = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.DOTALL)
        # Examples that messages show, and a pattern for any partition.
        code = code.replace("pulumi config set aws:region us-east-1", "")
        code = code.replace("arn:aws:acm:us-east-1:123456789012:certificate", "").replace("arn:aws[a-z-]*:", "")
        assert not re.findall(r"arn:aws\b|us-east-1|eu-west-1|\b\d{12}\b", code), path.name
