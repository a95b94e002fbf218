"""Container definitions in one canonical form, the one that ECS itself gives back.

ECS sorts containers and fills in defaults. A definition that differs from the registered one in nothing but that
would be a new revision, and a new deployment, each time (trouble known from pulumi/pulumi#4550).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_DEFAULTS: Mapping[str, Any] = {
    "cpu": 0,
    "environment": [],
    "essential": True,
    "mountPoints": [],
    "portMappings": [],
    "systemControls": [],
    "volumesFrom": [],
}
_SORT_KEYS = {
    "environment": "name",
    "secrets": "name",
    "mountPoints": "containerPath",
    "portMappings": "containerPort",
}
"""What ECS gives back in an order of its own."""


def canonical(containers: Iterable[Mapping[str, Any]]) -> str:
    """The containers as JSON: sorted by name, their lists by key, without nulls, with ECS's defaults filled in.

    What it gives is a fixed point: parsed and given again, it stays the same.
    """
    return json.dumps(
        sorted((_container(container) for container in containers), key=lambda container: str(container["name"])),
        sort_keys=True,
        separators=(",", ":"),
    )


def named(values: Mapping[str, Any], value_key: str = "value") -> list[dict[str, Any]]:
    """A mapping in ECS's list form: `[{"name": ..., "value": ...}]`."""
    return [{"name": name, value_key: value} for name, value in values.items()]


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**_DEFAULTS, **{key: _tidy(value) for key, value in container.items() if value is not None}}
    for key, sort_key in _SORT_KEYS.items():
        if key in filled:
            filled[key] = sorted(filled[key], key=lambda item: item[sort_key])
    return filled


def _tidy(value: Any) -> Any:
    # A number that came through an output is a float; ECS and the engine both spell 8080 without a point.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _tidy(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_tidy(item) for item in value]
    return value
