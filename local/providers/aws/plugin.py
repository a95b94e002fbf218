"""The stand-in `aws` provider: rows of the table, real resources, look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.providers.aws import ecs
from local.providers.aws.functions import FUNCTIONS
from local.providers.aws.kept import Kept
from local.providers.aws.place import place_from
from local.providers.aws.real import REAL, Clients
from local.providers.aws.table import TABLE
from local.providers.kind import Properties, ResourceKind
from local.providers.standin import StandIn


class AwsStandIn(StandIn):
    def __init__(self) -> None:
        super().__init__("aws")
        self.configured({})

    def configured(self, settings: Mapping[str, Any]) -> None:
        self.place = place_from(settings)
        self._clients = Clients(self.place)

    def kind_of(self, token: str) -> ResourceKind | None:
        if token in REAL:
            return REAL[token](self.place, self._clients)
        if token == "aws:ecs/service:Service":
            return ecs.Service(self.place)
        row = TABLE.get(token)
        if row is not None and token == "aws:appautoscaling/target:Target":
            return ecs.ScalableTarget(row, self.place)
        return Kept(row, self.place) if row is not None else None

    def answer(self, token: str, arguments: Properties) -> Properties | None:
        function = FUNCTIONS.get(token)
        return function(self.place, arguments) if function is not None else None
