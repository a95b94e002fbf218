"""SSM: parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from local.providers.aws.real.base import Real
from local.providers.kind import AutoName, Created, Properties
from local.providers.refresh import is_write_only
from local.providers.values import UNKNOWN

_VALUES = ("value", "insecureValue", "valueWo")

# Stands in for a value that a refresh has taken out of the state, until the embedded AWS has put back what it has kept.
_KEPT = "kept-by-the-embedded-aws"


class Parameter(Real):
    auto_name = AutoName(longest=1011)
    replaces = frozenset({"name"})
    outputs = frozenset({"arn", "version", "tier", "dataType", "hasValueWo"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def mistakes(self, inputs: Properties) -> Sequence[str]:
        # internal/service/ssm/parameter.go of hashicorp/terraform-provider-aws: ExactlyOneOf, RequiredWith.
        given = [key for key in ("insecureValue", "value", "valueWo") if key in inputs]
        found = []
        if not given:
            found.append("one of `insecureValue,value,valueWo` must be specified")
        elif len(given) > 1:
            found.append(f"only one of `insecureValue,value,valueWo` can be specified, but `{','.join(given)}` were")
        if ("valueWo" in inputs) != ("valueWoVersion" in inputs):
            found.append("all of `valueWo,valueWoVersion` must be specified")
        return found

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        # The same file's CustomizeDiff. A write-only value that changes is no change of `version` in the plan.
        changed = {key for key in ("description", "value", "valueWoVersion") if old.get(key) != inputs.get(key)}
        planned = super().planned(old, inputs)
        if changed & {"description", "value"}:
            planned["version"] = UNKNOWN
        if "valueWoVersion" in changed:
            planned["hasValueWo"] = UNKNOWN
        return planned

    def put(self, inputs: Properties) -> Created:
        return self._put(inputs, next((str(inputs[key]) for key in _VALUES if inputs.get(key) is not None), _KEPT))

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        changed = {key for key in old.keys() | inputs.keys() if old.get(key) != inputs.get(key)} - self.computed
        if all(is_write_only(key) or key in {"overwrite", "tags"} for key in changed):
            return self._with_tags(Created(resource_id), inputs).computed
        # A write-only value is sent when its version changes. Any other change sends the value that the state has, which
        # for a write-only one is none: AWS refuses that.
        if "valueWo" in inputs and "valueWoVersion" not in changed:
            return self._with_tags(self._put(inputs, ""), inputs).computed
        return super().update(resource_id, old, inputs)

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["ssm"].delete_parameter(Name=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        answer = self.clients["ssm"].get_parameter(Name=resource_id, WithDecryption=True)["Parameter"]
        filters = [{"Key": "Name", "Option": "Equals", "Values": [resource_id]}]
        [details] = self.clients["ssm"].describe_parameters(ParameterFilters=filters)["Parameters"]
        return details | answer

    def found(self, answer: Any, state: Properties) -> Properties:
        read = {"type": answer["Type"], "version": answer["Version"]}
        # The provider never puts a value into the state that it has written as write-only.
        read |= {key: answer["Value"] for key in ("insecureValue", "value") if state.get(key) is not None}
        if "description" in state:
            read["description"] = answer.get("Description", "")
        return read

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
                "hasValueWo": inputs.get("valueWo") is not None,
            },
        )
