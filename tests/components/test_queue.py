from __future__ import annotations

from collections.abc import Callable

import pulumi
import pytest

from components import ArgumentError, Queue
from components.iam import policy
from components.queue import MAX_MESSAGE_BYTES
from tests.components.deployment import Deployment, deploy, deploy_twice, statements


@pytest.fixture(scope="module")
def inbox() -> Deployment:
    def program() -> None:
        queue = Queue("inbox", visibility_timeout_seconds=45, max_receives=3)
        for name, use in {"sending": queue.sending(), "consuming": queue.consuming()}.items():
            pulumi.export(name, policy(use.statements))
            pulumi.export(f"{name}-environment", use.environment)

    return deploy_twice(program)


def test_messages_go_to_the_dead_letter_queue_after_their_last_receive(inbox: Deployment) -> None:
    redrive = inbox.one("aws:sqs/queue:Queue", "inbox").json("redrivePolicy")
    assert redrive["maxReceiveCount"] == 3
    assert redrive["deadLetterTargetArn"].endswith(":inbox-dead-letters-1a2b3c4")


def test_trap_54_the_dead_letter_queue_keeps_messages_longest_and_only_for_its_queue(inbox: Deployment) -> None:
    dead, live = (inbox.one("aws:sqs/queue:Queue", name).inputs for name in ("inbox-dead-letters", "inbox"))
    assert dead["messageRetentionSeconds"] == 14 * 86_400 > live["messageRetentionSeconds"]
    allow = inbox.one(":RedriveAllowPolicy").json("redriveAllowPolicy")
    assert allow["redrivePermission"] == "byQueue"
    assert [arn.rpartition(":")[2] for arn in allow["sourceQueueArns"]] == ["inbox-1a2b3c4"]


def test_both_queues_are_encrypted_and_take_a_mebibyte(inbox: Deployment) -> None:
    for queue in inbox.all("aws:sqs/queue:Queue"):
        assert queue.inputs["sqsManagedSseEnabled"] is True
        assert queue.inputs["maxMessageSize"] == MAX_MESSAGE_BYTES == 2**20
    assert inbox.one("aws:sqs/queue:Queue", "inbox").inputs["visibilityTimeoutSeconds"] == 45


def test_protected_neither_queue_can_be_deleted(inbox: Deployment) -> None:
    protected = deploy(lambda: Queue("inbox", protected=True)).all(":Queue")
    assert {queue.name: queue.options.protect for queue in protected} == {"inbox": True, "inbox-dead-letters": True}
    assert not [queue for queue in inbox.all(":Queue") if queue.options.protect]


def test_a_producer_may_send_and_nothing_else(inbox: Deployment) -> None:
    ((actions, resources, _),) = statements(inbox.outputs["sending"])
    assert actions == ["sqs:GetQueueAttributes", "sqs:SendMessage"]
    assert [arn.rpartition(":")[2] for arn in resources] == ["inbox-1a2b3c4"]


def test_a_consumer_may_receive_extend_and_delete_and_nothing_else(inbox: Deployment) -> None:
    ((actions, resources, _),) = statements(inbox.outputs["consuming"])
    assert actions == [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
    ]
    assert [arn.rpartition(":")[2] for arn in resources] == ["inbox-1a2b3c4"]


def test_both_learn_the_queue_s_address(inbox: Deployment) -> None:
    for use in ("sending", "consuming"):
        assert list(inbox.outputs[f"{use}-environment"]) == ["INBOX_QUEUE_URL"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Queue("inbox", visibility_timeout_seconds=43_201),
        lambda: Queue("inbox", max_receives=0),
        lambda: Queue("inbox", retention_days=14),
    ],
)
def test_an_argument_out_of_range_is_an_error(make: Callable[[], Queue]) -> None:
    with pytest.raises(ArgumentError, match="allowed: "):
        make()
