"""The queue between the API and the worker, from either end.

A message's body is the client's data. A message that was sent with an Idempotency-Key also carries, as an attribute,
the name of the object it makes; every other message makes an object named after the message itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.aws import AwsError, error_code

# SQS: a batch has at most 10 entries, and a message or a batch at most 1 MiB, attributes included.
BATCH_ENTRIES = 10
BATCH_BYTES = 1_048_576
OBJECT_ATTRIBUTE = "object"


@dataclass(frozen=True, slots=True)
class Outgoing:
    body: str
    object_name: str | None = None

    @property
    def size(self) -> int:
        """Bytes as SQS counts them: the body and each attribute's name, type and value."""
        attribute = 0
        if self.object_name is not None:
            attribute = len(OBJECT_ATTRIBUTE) + len("String") + len(self.object_name)
        return len(self.body.encode()) + attribute


@dataclass(frozen=True, slots=True)
class Accepted:
    message_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Incoming:
    message_id: str
    receipt: str
    body: str
    sent_at_milliseconds: int
    receive_count: int
    object_name: str | None = None


class QueueAway(Exception):
    """The queue could not be reached or refused the call as a whole."""


class Outbox(Protocol):
    """The sending end."""

    def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
        """Sends up to 10 messages of 1 MiB together; an outcome each, in order. Blocks. Raises QueueAway."""
        ...


class Inbox(Protocol):
    """The receiving end. Every method blocks and raises QueueAway."""

    def receive(self, limit: int) -> list[Incoming]:
        """Up to ``limit`` (at most 10) messages, after a long poll if there are none yet."""
        ...

    def delete(self, messages: Sequence[Incoming]) -> list[Incoming]:
        """Deletes up to 10 messages; returns those that are not deleted."""
        ...

    def hide(self, messages: Sequence[Incoming], seconds: int) -> list[Incoming]:
        """Hides up to 10 messages for ``seconds`` from now on, 0 hands them back; returns those it failed for."""
        ...


class SqsOutbox:
    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
        entries = [_entry(index, message) for index, message in enumerate(messages)]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except AwsError as error:
            raise QueueAway(error_code(error)) from error
        outcomes: list[Accepted | Refused] = [Refused("Missing", "SQS did not mention this message")] * len(messages)
        for entry in answer.get("Successful", []):
            outcomes[int(entry["Id"])] = Accepted(entry["MessageId"])
        for entry in answer.get("Failed", []):
            outcomes[int(entry["Id"])] = Refused(entry["Code"], entry.get("Message", ""))
        return outcomes


class SqsInbox:
    """Receives with a client of its own: a long poll holds a connection, which deletes must not wait for."""

    def __init__(self, receiver: Any, client: Any, url: str, *, wait_seconds: int, visibility_seconds: int) -> None:
        self._receiver = receiver
        self._client = client
        self._url = url
        self._wait_seconds = wait_seconds
        self._visibility_seconds = visibility_seconds

    def receive(self, limit: int) -> list[Incoming]:
        try:
            answer = self._receiver.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=self._wait_seconds,
                VisibilityTimeout=self._visibility_seconds,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=[OBJECT_ATTRIBUTE],
            )
        except AwsError as error:
            raise QueueAway(error_code(error)) from error
        return [_incoming(message) for message in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Incoming]) -> list[Incoming]:
        entries = [{"Id": str(index), "ReceiptHandle": message.receipt} for index, message in enumerate(messages)]
        try:
            answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        except AwsError as error:
            raise QueueAway(error_code(error)) from error
        return [messages[int(entry["Id"])] for entry in answer.get("Failed", [])]

    def hide(self, messages: Sequence[Incoming], seconds: int) -> list[Incoming]:
        entries = [
            {"Id": str(index), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
            for index, message in enumerate(messages)
        ]
        try:
            answer = self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except AwsError as error:
            raise QueueAway(error_code(error)) from error
        return [messages[int(entry["Id"])] for entry in answer.get("Failed", [])]


def _entry(index: int, message: Outgoing) -> dict[str, object]:
    entry: dict[str, object] = {"Id": str(index), "MessageBody": message.body}
    if message.object_name is not None:
        entry["MessageAttributes"] = {OBJECT_ATTRIBUTE: {"DataType": "String", "StringValue": message.object_name}}
    return entry


def _incoming(message: dict[str, Any]) -> Incoming:
    attributes = message["Attributes"]
    return Incoming(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent_at_milliseconds=int(attributes["SentTimestamp"]),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        object_name=message.get("MessageAttributes", {}).get(OBJECT_ATTRIBUTE, {}).get("StringValue"),
    )
