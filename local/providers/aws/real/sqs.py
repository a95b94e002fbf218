"""SQS: queues and their policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.providers.aws.real.base import Real, same_document
from local.providers.kind import AutoName, Created, Properties


class Queue(Real):
    # 80 characters, with the `.fifo` of a FIFO queue.
    auto_name = AutoName(longest=80)
    replaces = frozenset({"name", "namePrefix", "fifoQueue"})
    outputs = frozenset({"arn", "url"})
    exclusive = True
    _ATTRIBUTES: Mapping[str, str] = {
        "visibilityTimeoutSeconds": "VisibilityTimeout",
        "messageRetentionSeconds": "MessageRetentionPeriod",
        "maxMessageSize": "MaximumMessageSize",
        "delaySeconds": "DelaySeconds",
        "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
        "policy": "Policy",
        "redrivePolicy": "RedrivePolicy",
        "redriveAllowPolicy": "RedriveAllowPolicy",
        "kmsMasterKeyId": "KmsMasterKeyId",
        "sqsManagedSseEnabled": "SqsManagedSseEnabled",
        "contentBasedDeduplication": "ContentBasedDeduplication",
    }

    def identify(self, inputs: Properties) -> str:
        # AWS's own address, so that the state doesn't depend on the port of this machine's endpoint; SDKs and the embedded
        # AWS take the queue's name out of it.
        host = f"sqs.{self.place.region}.{self.place.dns_suffix}"
        return f"https://{host}/{self.place.account}/{inputs['name']}"

    def put(self, inputs: Properties) -> Created:
        sqs, name = self.clients["sqs"], str(inputs["name"])
        attributes = {
            attribute: _attribute(inputs[key])
            for key, attribute in self._ATTRIBUTES.items()
            if inputs.get(key) is not None
        }
        url = self.identify(inputs)
        if self.exists(url, inputs):
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        else:
            if inputs.get("fifoQueue"):
                attributes["FifoQueue"] = "true"
            sqs.create_queue(QueueName=name, Attributes=attributes, tags=inputs.get("tags") or {})
        return Created(url, {"url": url, "arn": self.place.arn("sqs", name)})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["sqs"].delete_queue(QueueUrl=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return _attributes(self.clients["sqs"], resource_id)

    def found(self, answer: Any, state: Properties) -> Properties:
        given = {key: name for key, name in self._ATTRIBUTES.items() if state.get(key) is not None}
        return {key: _value(state[key], answer[name]) for key, name in given.items() if name in answer}


def _attribute(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(old: Any, attribute: str) -> Any:
    """An attribute in the type that the property has."""
    if isinstance(old, bool):
        return attribute == "true"
    return int(attribute) if isinstance(old, int) else same_document(old, attribute)


def _attributes(sqs: Any, url: str) -> Any:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


class _OfQueue(Real):
    replaces = frozenset({"queueUrl"})
    attribute = ""
    input = ""

    def identify(self, inputs: Properties) -> str:
        return str(inputs["queueUrl"])

    def put(self, inputs: Properties) -> Created:
        self._set(str(inputs["queueUrl"]), str(inputs[self.input]))
        return Created(str(inputs["queueUrl"]))

    def remove(self, resource_id: str, state: Properties) -> None:
        self._set(resource_id, "")

    def look(self, resource_id: str, state: Properties) -> object:
        return _attributes(self.clients["sqs"], resource_id).get(self.attribute) or None

    def found(self, answer: Any, state: Properties) -> Properties:
        return {self.input: same_document(state.get(self.input), answer)}

    def _set(self, url: str, value: str) -> None:
        self.clients["sqs"].set_queue_attributes(QueueUrl=url, Attributes={self.attribute: value})


class QueuePolicy(_OfQueue):
    attribute, input = "Policy", "policy"


class RedrivePolicy(_OfQueue):
    attribute, input = "RedrivePolicy", "redrivePolicy"


class RedriveAllowPolicy(_OfQueue):
    attribute, input = "RedriveAllowPolicy", "redriveAllowPolicy"

    # The embedded AWS takes the attribute and doesn't answer it.
    def look(self, resource_id: str, state: Properties) -> object:
        return _attributes(self.clients["sqs"], resource_id)

    def found(self, answer: Any, state: Properties) -> Properties:
        return {}
