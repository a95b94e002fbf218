from __future__ import annotations

import pulumi
import pytest

from components import ArgumentError, Bucket, EfsVolume, Queue, SecretParameter
from tests.components import parts
from tests.components.deployment import deploy


def test_an_override_reaches_the_child_and_wins() -> None:
    deployment = deploy(
        lambda: Queue("inbox", overrides={"queue": {"delay_seconds": 5}, "dead-letters": {"max_message_size": 2048}})
    )
    assert deployment.one(":Queue", "inbox").inputs["delaySeconds"] == 5
    assert deployment.one(":Queue", "inbox-dead-letters").inputs["maxMessageSize"] == 2048
    assert "delaySeconds" not in deployment.one(":Queue", "inbox-dead-letters").inputs


def test_an_override_reaches_a_child_of_a_child() -> None:
    deployment = deploy(
        lambda: parts.api(
            overrides={
                "service": {"enable_execute_command": True},
                "task-definition": {"track_latest": True},
                "task-role": {"permissions_boundary": "arn:boundary"},
                "alb": {"internal": True},
            }
        )
    )
    assert deployment.one(":Service").inputs["enableExecuteCommand"] is True
    assert deployment.one("aws:ecs/taskDefinition:TaskDefinition").inputs["trackLatest"] is True
    assert deployment.one(":Role", "api-task-role").inputs["permissionsBoundary"] == "arn:boundary"
    assert "permissionsBoundary" not in deployment.one(":Role", "api-execution-role").inputs
    assert deployment.one("aws:lb/loadBalancer:LoadBalancer").inputs["internal"] is True


def test_an_override_of_a_child_that_does_not_exist_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean dead-letters"):
        deploy(lambda: Queue("inbox", overrides={"dead-leters": {"max_message_size": 2048}}))


def test_an_override_of_a_property_that_does_not_exist_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean delay_seconds"):
        deploy(lambda: Queue("inbox", overrides={"queue": {"delay_second": 5}}))


def test_trap_57_options_of_a_component_do_not_leak_to_its_children() -> None:
    def program() -> None:
        outer, other = pulumi.ComponentResource("test:index:Outer", "outer"), Queue("other")
        Queue("second", opts=pulumi.ResourceOptions(parent=outer, protect=True, depends_on=[other]))

    deployment = deploy(program)
    queue = deployment.one("aws:sqs/queue:Queue", "second-dead-letters")
    assert queue.parent.endswith("$ecs-file-ingest:index:Queue::second")
    assert queue.depends_on == set()
    # Pulumi itself hands protection down, and that only.
    assert queue.options.protect is True


def test_protection_that_a_component_does_not_ask_for_is_still_handed_down() -> None:
    def program() -> None:
        protect = pulumi.ResourceOptions(protect=True)
        Queue("inbox", opts=protect)
        SecretParameter("token", opts=protect)
        Bucket("emails", protected=False, opts=protect)
        EfsVolume("files", network=parts.network(), protected=False, opts=protect)

    deployment = deploy(program)
    for kind in (":Queue", "ssm/parameter:Parameter", "s3/bucket:Bucket", ":FileSystem"):
        assert all(resource.options.protect for resource in deployment.all(kind)), kind


def test_every_component_has_a_type_token_of_its_own() -> None:
    deployment = deploy(parts.api)
    own = {resource.type for resource in deployment.resources if not resource.options.custom}
    assert {"ecs-file-ingest:index:ApiService", "ecs-file-ingest:index:TaskDefinition"} <= own
    assert all(token.startswith("ecs-file-ingest:index:") for token in own)


def test_components_under_parents_of_different_types_may_share_names() -> None:
    def program() -> None:
        first, second = (pulumi.ComponentResource(f"test:index:{kind}", "outer") for kind in ("First", "Second"))
        Queue("jobs", opts=pulumi.ResourceOptions(parent=first))
        Queue("jobs-dead-letters", opts=pulumi.ResourceOptions(parent=second))

    assert deploy(program).names(":Queue") == [
        "jobs",
        "jobs-dead-letters",
        "jobs-dead-letters",
        "jobs-dead-letters-dead-letters",
    ]
