"""The in-memory queue keeps the promises of the real one, or tests that use it prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.aws.clients import Clients
from service.aws.queues import Accepted, Inbox, Outbox, Outgoing, SqsInbox, SqsOutbox
from tests.service.conftest import Aws
from tests.service.memory import MemoryQueue

Ends = tuple[Outbox, Inbox]


@pytest.fixture(params=["memory", "sqs"])
def ends(
    request: pytest.FixtureRequest, aws: Aws, queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Ends]:
    """Both ends of a queue with the visibility timeout given in seconds."""
    if request.param == "memory":

        def memory(visibility_seconds: int) -> Ends:
            queue = MemoryQueue(visibility_seconds=visibility_seconds)
            return queue, queue

        return memory
    for name, value in aws.env.items():
        monkeypatch.setenv(name, value)
    client: Any = Clients("us-east-1").client("sqs", connections=1)

    def sqs(visibility_seconds: int) -> Ends:
        inbox = SqsInbox(client, client, queue_url, wait_seconds=0, visibility_seconds=visibility_seconds)
        return SqsOutbox(client, queue_url), inbox

    return sqs


def test_a_message_is_received_once_until_it_is_handed_back(ends: Callable[[int], Ends]) -> None:
    outbox, inbox = ends(30)
    outcomes = outbox.send([Outgoing('{"a":1}', "2025/06/09/x")])
    (message,) = inbox.receive(10)
    assert outcomes == [Accepted(message.message_id)]
    assert (message.body, message.object_name, message.receive_count) == ('{"a":1}', "2025/06/09/x", 1)
    assert inbox.receive(10) == []
    assert inbox.hide([message], 0) == []
    (again,) = inbox.receive(10)
    assert (again.message_id, again.receive_count) == (message.message_id, 2)
    assert again.sent_at_milliseconds == message.sent_at_milliseconds
    assert again.receipt != message.receipt


def test_a_deleted_message_never_comes_back(ends: Callable[[int], Ends]) -> None:
    outbox, inbox = ends(0)
    outbox.send([Outgoing("1"), Outgoing("2")])
    messages = inbox.receive(10)
    assert inbox.delete(messages[:1]) == []
    assert {message.message_id for message in inbox.receive(10)} == {messages[1].message_id}


def test_no_more_is_received_than_asked_for(ends: Callable[[int], Ends]) -> None:
    outbox, inbox = ends(30)
    outbox.send([Outgoing(str(number)) for number in range(5)])
    assert len(inbox.receive(2)) == 2
    assert len(inbox.receive(10)) == 3


def test_an_old_receipt_deletes_and_hides_nothing() -> None:
    queue = MemoryQueue(visibility_seconds=0)
    queue.send([Outgoing("1")])
    (old,) = queue.receive(1)
    queue.receive(1)
    assert [failure.sender_fault for failure in queue.delete([old]) + queue.hide([old], 5)] == [True, True]
    assert len(queue) == 1


def test_a_message_that_was_received_too_often_is_dead() -> None:
    queue = MemoryQueue(visibility_seconds=0, most_receives=2)
    queue.send([Outgoing("1")])
    assert [len(queue.receive(1)) for _ in range(3)] == [1, 1, 0]
    assert [message.body for message in queue.dead] == ["1"]
    assert len(queue) == 0
