"""The queue between the API and the worker, from either end.

A message's body is the client's data. A message that was sent with an Idempotency-Key also carries, as an attribute,
the name of the object it makes; every other message makes an object named after the message itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.aws.clients import AwsError, error_code

# SQS: a batch has at most 10 entries, and a message or a batch at most 1 MiB, attributes included.
BATCH_ENTRIES = 10
BATCH_BYTES = 1_048_576
OBJECT_ATTRIBUTE = "object"
# What SQS says of a message that it will never take, whether as an entry's failure or as that of the whole call.
_CODES_OF_MESSAGES = frozenset({"InvalidMessageContents", "InvalidParameterValue", "BatchRequestTooLong"})


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
        return (len(self.body) if self.body.isascii() else len(self.body.encode())) + attribute


@dataclass(frozen=True, slots=True)
class Accepted:
    message_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """``sender_fault``: the message itself is why, and sending it again won't help."""

    code: str
    detail: str
    sender_fault: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    message_id: str
    receipt: str
    body: str
    sent_at_milliseconds: int
    receive_count: int
    object_name: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A message for which a batch call failed; ``sender_fault``: as it would again, since its receipt is no longer
    good."""

    message: Message
    code: str
    sender_fault: bool


class QueueAway(Exception):
    """The queue could not be reached or refused the call as a whole."""


class Outbox(Protocol):
    """The sending end."""

    def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
        """Sends up to 10 messages of 1 MiB together; an outcome each, in order. Blocks. Raises QueueAway."""
        ...


class Inbox(Protocol):
    """The receiving end. Every method blocks and raises QueueAway."""

    def receive(self, limit: int) -> list[Message]:
        """Up to ``limit`` (at most 10) messages, after a long poll if there are none yet."""
        ...

    def delete(self, messages: Sequence[Message]) -> list[Failed]:
        """Deletes up to 10 messages; returns those that are not deleted."""
        ...

    def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
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
            code = error_code(error)
            if code not in _CODES_OF_MESSAGES:
                raise QueueAway(code) from error
            if len(messages) == 1:
                return [Refused(code, str(error), sender_fault=True)]
            # SQS has taken none of them because of one: each for itself finds out which.
            return [self._send_alone(message) for message in messages]
        outcomes: list[Accepted | Refused] = [Refused("Missing", "SQS did not mention this message")] * len(messages)
        for entry in answer.get("Successful", []):
            outcomes[int(entry["Id"])] = Accepted(entry["MessageId"])
        for entry in answer.get("Failed", []):
            code, detail = str(entry["Code"]).rpartition(".")[2], str(entry.get("Message", ""))
            fault = bool(entry.get("SenderFault")) and code in _CODES_OF_MESSAGES
            outcomes[int(entry["Id"])] = Refused(code, detail, sender_fault=fault)
        return outcomes

    def _send_alone(self, message: Outgoing) -> Accepted | Refused:
        try:
            return self.send([message])[0]
        except QueueAway as error:
            return Refused(str(error), "the queue could not be reached")


class SqsInbox:
    """Receives with a client of its own: a long poll holds a connection, which deletes must not wait for."""

    def __init__(self, receiver: Any, client: Any, url: str, *, wait_seconds: int, visibility_seconds: int) -> None:
        self._receiver = receiver
        self._client = client
        self._url = url
        self._wait_seconds = wait_seconds
        self._visibility_seconds = visibility_seconds

    def receive(self, limit: int) -> list[Message]:
        with _or_away():
            answer = self._receiver.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=self._wait_seconds,
                VisibilityTimeout=self._visibility_seconds,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=[OBJECT_ATTRIBUTE],
            )
            return [_incoming(message) for message in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Message]) -> list[Failed]:
        entries = [{"Id": str(index), "ReceiptHandle": message.receipt} for index, message in enumerate(messages)]
        with _or_away():
            return _failed(messages, self._client.delete_message_batch(QueueUrl=self._url, Entries=entries))

    def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
        entries = [
            {"Id": str(index), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
            for index, message in enumerate(messages)
        ]
        with _or_away():
            return _failed(messages, self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries))


@contextlib.contextmanager
def _or_away() -> Iterator[None]:
    """Whatever goes wrong with a call: of an answer that makes no sense botocore raises anything."""
    try:
        yield
    except Exception as error:
        raise QueueAway(error_code(error)) from error


def _entry(index: int, message: Outgoing) -> dict[str, object]:
    entry: dict[str, object] = {"Id": str(index), "MessageBody": message.body}
    if message.object_name is not None:
        entry["MessageAttributes"] = {OBJECT_ATTRIBUTE: {"DataType": "String", "StringValue": message.object_name}}
    return entry


def _failed(messages: Sequence[Message], answer: dict[str, Any]) -> list[Failed]:
    # What is mentioned nowhere has not been done for sure: of an answer that was cut off botocore makes an empty one.
    left = {str(index): message for index, message in enumerate(messages)}
    for entry in answer.get("Successful", []):
        left.pop(entry["Id"], None)
    faults = {entry["Id"]: entry for entry in answer.get("Failed", [])}
    return [
        Failed(message, str(faults[index]["Code"]), bool(faults[index].get("SenderFault")))
        if index in faults
        else Failed(message, "Missing", sender_fault=False)
        for index, message in left.items()
    ]


def _incoming(message: dict[str, Any]) -> Message:
    attributes = message["Attributes"]
    return Message(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent_at_milliseconds=int(attributes["SentTimestamp"]),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        object_name=message.get("MessageAttributes", {}).get(OBJECT_ATTRIBUTE, {}).get("StringValue"),
    )
