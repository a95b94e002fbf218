"""SSM: parameters."""

from __future__ import annotations

from local.providers.aws.real.base import Real
from local.providers.standin import AutoName, Created, Properties


class Parameter(Real):
    auto_name = AutoName(longest=1011)
    replaces = frozenset({"name"})
    outputs = frozenset({"arn", "version", "tier", "dataType", "hasValueWo"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def put(self, inputs: Properties) -> Created:
        return self._put(inputs, str(inputs["value"] if "value" in inputs else inputs["valueWo"]))

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        # The real provider sends a write-only value when its version changes, and leaves it alone otherwise.
        if "value" in inputs or inputs.get("valueWoVersion") != old.get("valueWoVersion"):
            return super().update(resource_id, old, inputs)
        return self._with_tags(Created(resource_id), inputs).computed

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["ssm"].delete_parameter(Name=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["ssm"].get_parameter(Name=resource_id)

    def _put(self, inputs: Properties, value: str) -> Created:
        name = str(inputs["name"])
        details = {"Description": inputs["description"]} if inputs.get("description") else {}
        if inputs.get("keyId"):
            details["KeyId"] = inputs["keyId"]
        answer = self.clients["ssm"].put_parameter(
            Name=name, Value=value, Type=inputs["type"], Overwrite=True, Tier=inputs.get("tier", "Standard"), **details
        )
        return Created(
            name,
            {
                "arn": self.place.arn("ssm", f"parameter/{name.lstrip('/')}"),
                "version": answer["Version"],
                "tier": inputs.get("tier", "Standard"),
                "dataType": inputs.get("dataType", "text"),
                "hasValueWo": "valueWo" in inputs,
            },
        )
