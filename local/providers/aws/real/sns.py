"""SNS: topics and subscriptions."""

from __future__ import annotations

from local.providers.aws.real.base import Real
from local.providers.kind import AutoName, Created, Properties


class Topic(Real):
    auto_name = AutoName(longest=256)
    replaces = frozenset({"name", "namePrefix", "fifoTopic"})
    outputs = frozenset({"arn", "owner"})

    def identify(self, inputs: Properties) -> str:
        return self.place.arn("sns", str(inputs["name"]))

    def put(self, inputs: Properties) -> Created:
        attributes = {"KmsMasterKeyId": inputs["kmsMasterKeyId"]} if inputs.get("kmsMasterKeyId") else {}
        arn = self.clients["sns"].create_topic(Name=inputs["name"], Attributes=attributes)["TopicArn"]
        return Created(arn, {"arn": arn, "owner": self.place.account})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["sns"].delete_topic(TopicArn=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["sns"].get_topic_attributes(TopicArn=resource_id)


class TopicSubscription(Real):
    replaces = frozenset({"topic", "protocol", "endpoint"})
    outputs = frozenset({"arn", "ownerId", "pendingConfirmation"})

    def undo(self, inputs: Properties) -> None:
        """Its id is made up by SNS; it goes with its topic."""

    def put(self, inputs: Properties) -> Created:
        arn = self.clients["sns"].subscribe(
            TopicArn=inputs["topic"],
            Protocol=inputs["protocol"],
            Endpoint=inputs["endpoint"],
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        return Created(arn, {"arn": arn, "ownerId": self.place.account, "pendingConfirmation": False})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["sns"].unsubscribe(SubscriptionArn=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["sns"].get_subscription_attributes(SubscriptionArn=resource_id)
