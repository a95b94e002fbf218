from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import (
    ArgumentError,
    BacklogScaling,
    Bucket,
    Https,
    Queue,
    ScheduledTask,
    SecretParameter,
    WorkerService,
)
from components.names import NAME_LENGTH, PHYSICAL_LIMITS, SUFFIX_LENGTH, environment_name, name_problem
from tests.components import parts
from tests.components.deployment import Deployment, deploy

LONGEST = "a" * NAME_LENGTH


def _every_component() -> None:
    cluster, image = parts.cluster(name=LONGEST), parts.image()
    queue = Queue(LONGEST)
    Bucket(LONGEST, protected=False)
    SecretParameter(LONGEST)
    parts.api(
        name=LONGEST,
        cluster=cluster,
        image=image,
        https=Https(domain_name="a.example.com", hosted_zone_name="example.com"),
    )
    WorkerService(
        f"{LONGEST[:-1]}w",
        cluster=cluster,
        image=image,
        command=["worker"],
        size=parts.SMALL,
        scaling=BacklogScaling(queue=queue, min=0, max=2),
    )
    ScheduledTask(
        f"{LONGEST[:-1]}s", cluster=cluster, image=image, command=["sweep"], size=parts.SMALL, schedule="rate(1 hour)"
    )


@pytest.fixture(scope="module")
def longest() -> Deployment:
    return deploy(_every_component)


def test_trap_1_every_name_that_pulumi_makes_is_within_what_aws_allows(longest: Deployment) -> None:
    checked = set()
    for resource in longest.resources:
        limit = PHYSICAL_LIMITS.get(resource.type)
        if limit is not None and "name" not in resource.inputs:
            assert len(resource.name) + SUFFIX_LENGTH <= limit, resource
            checked.add(resource.type)
    assert {"aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup", "aws:iam/role:Role"} <= checked


def test_trap_3_and_50_nothing_that_may_be_replaced_has_a_name_of_its_own(longest: Deployment) -> None:
    fixed = {resource.type for resource in longest.resources if "name" in resource.inputs}
    # Container Insights reads the group's name from the cluster's; a record's name is what it is.
    assert fixed == {"aws:cloudwatch/logGroup:LogGroup", "aws:route53/record:Record"}
    assert not [resource for resource in longest.resources if resource.options.deleteBeforeReplace]


@given(st.from_regex(r"[a-z](-?[a-z0-9]){0,9}", fullmatch=True))
def test_a_name_of_short_words_is_taken(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "A", "1a", "a--b", "a-", "-a", "a_b", "a.b", "a" * (NAME_LENGTH + 1), "ä"])
def test_a_name_that_aws_would_refuse_is_an_error_that_says_what_is_allowed(name: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"1 to {NAME_LENGTH} lower-case letters")):
        Queue(name)


def test_environment_variables_are_named_after_the_component_and_what_they_hold() -> None:
    assert environment_name("api-token", "PARAMETER") == "API_TOKEN_PARAMETER"
    assert environment_name("files", "DIR") == "FILES_DIR"
