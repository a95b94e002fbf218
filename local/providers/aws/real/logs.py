"""CloudWatch Logs: log groups."""

from __future__ import annotations

from typing import Any

from local.providers.aws.real.base import Real
from local.providers.kind import AutoName, Created, Properties


class LogGroup(Real):
    auto_name = AutoName(longest=512)
    replaces = frozenset({"name", "namePrefix", "logGroupClass"})
    outputs = frozenset({"arn"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def put(self, inputs: Properties) -> Created:
        logs, name = self.clients["logs"], str(inputs["name"])
        if not self.exists(name, inputs):
            logs.create_log_group(logGroupName=name, tags=inputs.get("tags") or {})
        if inputs.get("retentionInDays"):
            logs.put_retention_policy(logGroupName=name, retentionInDays=inputs["retentionInDays"])
        else:
            logs.delete_retention_policy(logGroupName=name)
        return Created(name, {"arn": self.place.arn("logs", f"log-group:{name}")})

    def remove(self, resource_id: str, state: Properties) -> None:
        if not state.get("skipDestroy"):
            self.clients["logs"].delete_log_group(logGroupName=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        groups = self.clients["logs"].describe_log_groups(logGroupNamePrefix=resource_id)["logGroups"]
        return next((group for group in groups if group["logGroupName"] == resource_id), None)

    def found(self, answer: Any, state: Properties) -> Properties:
        return {"retentionInDays": answer.get("retentionInDays", 0)} if "retentionInDays" in state else {}
