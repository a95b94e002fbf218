"""Makes the embedded AWS agree with the engine's state, before the engine works on it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from local.providers.aws import ecs
from local.providers.aws.place import place_in
from local.providers.aws.real import REAL, Clients, Real
from local.runner.stack import reveal


def put_back(resources: Iterable[Mapping[str, Any]], endpoint: str) -> int:
    """Creates again every real resource that the state has, in the state's order. Returns how many there were."""
    count = 0
    kinds = _Kinds(endpoint)
    for resource in resources:
        kind = kinds.of(resource)
        # What is only waiting to be deleted (`delete`) was replaced: it must exist too until the engine deletes it.
        if kind is not None:
            kind.put(reveal(resource.get("inputs") or {}))
            count += 1
    return count


def undo_unfinished(deployment: Mapping[str, Any], endpoint: str) -> list[str]:
    """Undoes what an interrupted engine was doing and has not written down. Returns the URNs it was about.

    What it may have created is deleted; what it may have changed or deleted is again as the state has it.
    """
    undone = []
    kinds = _Kinds(endpoint)
    for operation in deployment.get("pending_operations") or []:
        resource = operation["resource"]
        kind = kinds.of(resource)
        if kind is not None and operation["type"] == "creating":
            kind.undo(reveal(resource.get("inputs") or {}))
        elif resource["type"] == "aws:ecs/service:Service" and operation["type"] == "creating":
            ecs.undo_creation(reveal(resource.get("inputs") or {}))
        elif operation["type"] in {"deleting", "updating"}:
            put_back([kept for kept in deployment.get("resources") or [] if kept["urn"] == resource["urn"]], endpoint)
        undone.append(str(resource["urn"]))
    return undone


class _Kinds:
    """The real kinds of resources, with one set of clients a region."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._clients: dict[str, Clients] = {}

    def of(self, resource: Mapping[str, Any]) -> Real | None:
        found = REAL.get(str(resource.get("type")))
        if found is None:
            return None
        region = (resource.get("outputs") or {}).get("region")
        place = place_in(region if isinstance(region, str) else None)
        if place.region not in self._clients:
            self._clients[place.region] = Clients(place, self._endpoint)
        return found(place, self._clients[place.region])
