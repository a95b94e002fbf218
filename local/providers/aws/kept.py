"""Resource types that exist in the engine's state alone: their computed outputs come from templates."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.providers.aws.place import Place, fresh_hex, fresh_uuid
from local.providers.kind import AutoName, Created, Properties, ResourceKind

# A template of str.format over Template.values, or a function of the same values for what isn't a string.
Output = str | Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table: how a type's id and computed outputs look, and what replaces it.

    Templates know the place (`partition`, `region`, `account`, `dns_suffix`), the inputs (`i[name]`), fresh digits (`hex8`,
    `hex16`, `hex17`, `uuid`) and, in `outputs`, the `id` and every output above.
    """

    id: str
    outputs: Mapping[str, Output] = field(default_factory=dict)
    replaces: str = ""
    auto_name: AutoName | None = None
    taggable: bool = True


class Kept(ResourceKind):
    """A `ResourceKind` over one row of the table."""

    def __init__(self, row: Row, place: Place) -> None:
        self._row = row
        self._place = place
        self.auto_name = row.auto_name
        self.replaces = frozenset(row.replaces.split())
        self.computed = frozenset(row.outputs) | self.planned({}, {}).keys()

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        planned = self._place.planned(inputs)
        return planned if self._row.taggable else {"region": planned["region"]}

    def create(self, name: str, inputs: Properties) -> Created:
        place = self._place
        values: dict[str, Any] = {
            "partition": place.partition,
            "region": inputs.get("region", place.region),
            "account": place.account,
            "dns_suffix": place.dns_suffix,
            "place": place,
            "i": _Inputs(inputs),
            "hex8": fresh_hex(8),
            "hex16": fresh_hex(16),
            "hex17": fresh_hex(17),
            "uuid": fresh_uuid(),
        }
        values["id"] = string.Formatter().vformat(self._row.id, (), values)
        computed = self.planned({}, inputs)
        for key, output in self._row.outputs.items():
            value = output(values) if callable(output) else string.Formatter().vformat(output, (), values)
            values[key] = value
            if key not in inputs:
                computed[key] = value
        return Created(values["id"], computed)

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        return self.planned(old, inputs)

    def delete(self, resource_id: str, state: Properties) -> None:
        """The engine's state is all there is of it."""


class _Inputs(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""
