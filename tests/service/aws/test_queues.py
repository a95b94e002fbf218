from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from service.aws.clients import Clients
from service.aws.queues import Accepted, Failed, Message, Outgoing, QueueAway, Refused, SqsInbox, SqsOutbox
from tests.service.conftest import Aws


@pytest.fixture
def client(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in aws.env.items():
        monkeypatch.setenv(name, value)
    return Clients("us-east-1").client("sqs", connections=2, attempts=1)


def inbox(client: Any, url: str, visibility_seconds: int = 30) -> SqsInbox:
    return SqsInbox(client, client, url, wait_seconds=1, visibility_seconds=visibility_seconds)


def test_messages_go_through_sqs_with_body_and_object_name(client: Any, queue_url: str) -> None:
    sent = SqsOutbox(client, queue_url).send([Outgoing('{"é":"😀\\ufffe"}'), Outgoing("{}", "2025/06/09/x")])
    assert all(isinstance(outcome, Accepted) for outcome in sent)
    received = sorted(inbox(client, queue_url).receive(10), key=lambda message: message.body)
    assert [message.body for message in received] == ['{"é":"😀\\ufffe"}', "{}"]
    assert [message.object_name for message in received] == [None, "2025/06/09/x"]
    assert {message.message_id for message in received} == {outcome.message_id for outcome in sent}  # type: ignore[union-attr]
    assert all(message.receive_count == 1 and message.sent_at_milliseconds > 1e12 for message in received)


def test_a_deleted_message_is_gone_and_one_handed_back_returns_at_once(client: Any, queue_url: str) -> None:
    SqsOutbox(client, queue_url).send([Outgoing("{}")])
    box = inbox(client, queue_url)
    (first,) = box.receive(10)
    assert box.hide([first], 0) == []
    (again,) = box.receive(10)
    assert (again.message_id, again.receive_count) == (first.message_id, 2)
    assert box.delete([again]) == []
    assert box.receive(10) == []


def test_a_queue_that_can_not_be_reached_is_away(client: Any) -> None:
    url = "http://127.0.0.1:1/123456789012/absent"
    box = inbox(client, url)
    with pytest.raises(QueueAway):
        SqsOutbox(client, url).send([Outgoing("{}")])
    with pytest.raises(QueueAway):
        box.receive(1)


class PartlyFailing:
    """A client whose batch calls succeed as calls and fail for the entry with the Id 1."""

    def __getattr__(self, _: str) -> Any:
        return self._call

    def _call(self, Entries: list[dict[str, str]], **_: Any) -> dict[str, Any]:
        good = [{"Id": entry["Id"], "MessageId": f"m{entry['Id']}"} for entry in Entries if entry["Id"] != "1"]
        return {"Successful": good[::-1], "Failed": [{"Id": "1", "Code": "InternalError", "SenderFault": False}]}


def test_each_entry_of_a_batch_has_its_own_outcome() -> None:
    outcomes = SqsOutbox(PartlyFailing(), "url").send([Outgoing("{}")] * 3)
    assert outcomes == [Accepted("m0"), Refused("InternalError", ""), Accepted("m2")]


def test_messages_that_are_not_deleted_or_hidden_are_named(client: Any, queue_url: str) -> None:
    SqsOutbox(client, queue_url).send([Outgoing("{}")] * 3)
    messages = inbox(client, queue_url).receive(10)
    box = inbox(PartlyFailing(), queue_url)
    assert box.delete(messages) == [Failed(messages[1], "InternalError", sender_fault=False)]
    assert box.hide(messages, 5) == [Failed(messages[1], "InternalError", sender_fault=False)]


def test_what_an_answer_does_not_mention_is_not_taken_for_done() -> None:
    class Silent:
        def __getattr__(self, _: str) -> Any:
            return lambda **_: {}

    message = Message("id", "receipt", "{}", 0, 1)
    assert SqsOutbox(Silent(), "url").send([Outgoing("{}")]) == [Refused("Missing", "SQS did not mention this message")]
    box = inbox(Silent(), "url")
    assert box.delete([message]) == box.hide([message], 0) == [Failed(message, "Missing", sender_fault=False)]
    assert box.receive(10) == []


def test_size_is_counted_as_sqs_does() -> None:
    assert Outgoing("é").size == 2
    assert Outgoing("{}", "abc").size == 2 + len("object") + len("String") + 3


def test_a_refusal_of_the_call_names_its_code() -> None:
    class Denied:
        def send_message_batch(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessageBatch")

    with pytest.raises(QueueAway, match="AccessDenied"):
        SqsOutbox(Denied(), "url").send([Outgoing("{}")])


def test_an_answer_that_makes_no_sense_is_a_queue_that_is_away() -> None:
    class Nonsense:
        def __getattr__(self, _: str) -> Any:
            def call(**_: Any) -> Any:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

            return call

    inbox = SqsInbox(Nonsense(), Nonsense(), "url", wait_seconds=0, visibility_seconds=1)
    message = Message("id", "receipt", "{}", 0, 1)
    for call in (lambda: inbox.receive(1), lambda: inbox.delete([message]), lambda: inbox.hide([message], 1)):
        with pytest.raises(QueueAway, match="UnicodeDecodeError"):
            call()
