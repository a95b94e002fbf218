"""DynamoDB: tables."""

from __future__ import annotations

from typing import Any

from local.providers.aws.real.base import Real
from local.providers.kind import AutoName, Created, Properties


class Table(Real):
    auto_name = AutoName(longest=255)
    replaces = frozenset({"name", "hashKey", "rangeKey", "localSecondaryIndexes"})
    outputs = frozenset({"arn", "streamArn", "streamLabel"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def put(self, inputs: Properties) -> Created:
        dynamodb, name = self.clients["dynamodb"], str(inputs["name"])
        if not self.exists(name, inputs):
            dynamodb.create_table(**_table_call(inputs))
        ttl = inputs.get("ttl") or {}
        if ttl.get("attributeName"):
            specification = {"Enabled": bool(ttl.get("enabled", True)), "AttributeName": ttl["attributeName"]}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
        return Created(name, {"arn": self.place.arn("dynamodb", f"table/{name}"), "streamArn": "", "streamLabel": ""})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["dynamodb"].delete_table(TableName=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["dynamodb"].describe_table(TableName=resource_id)


def _table_call(inputs: Properties) -> dict[str, Any]:
    keys = [{"AttributeName": inputs["hashKey"], "KeyType": "HASH"}]
    if inputs.get("rangeKey"):
        keys.append({"AttributeName": inputs["rangeKey"], "KeyType": "RANGE"})
    call: dict[str, Any] = {
        "TableName": inputs["name"],
        "KeySchema": keys,
        "AttributeDefinitions": [
            {"AttributeName": a["name"], "AttributeType": a["type"]} for a in inputs["attributes"]
        ],
        # Capacity is nothing that one machine could show.
        "BillingMode": "PAY_PER_REQUEST",
    }
    indexes = []
    for index in inputs.get("globalSecondaryIndexes") or []:
        schema = [{"AttributeName": index["hashKey"], "KeyType": "HASH"}]
        if index.get("rangeKey"):
            schema.append({"AttributeName": index["rangeKey"], "KeyType": "RANGE"})
        projection: dict[str, Any] = {"ProjectionType": index["projectionType"]}
        if index.get("nonKeyAttributes"):
            projection["NonKeyAttributes"] = index["nonKeyAttributes"]
        indexes.append({"IndexName": index["name"], "KeySchema": schema, "Projection": projection})
    return call | ({"GlobalSecondaryIndexes": indexes} if indexes else {})
