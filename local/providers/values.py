"""Property values of the engine as plain Python values, and back.

Secrets are opened: the engine marks them again on outputs of the same name, as it does for every provider that doesn't
accept secrets. A value that a preview doesn't know yet is `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()

Plain = Any


def to_plain(values: Mapping[str, PropertyValue]) -> dict[str, Plain]:
    return {key: _plain(value) for key, value in values.items()}


def from_plain(values: Mapping[str, Plain]) -> dict[str, PropertyValue]:
    return {key: _property(value) for key, value in values.items()}


def is_known(value: Plain) -> bool:
    """Whether a value holds nothing unknown, at any depth."""
    if isinstance(value, Mapping):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    return value is not UNKNOWN


def _plain(value: PropertyValue) -> Plain:
    inner = value.value
    # The engine's own word for it. The SDK's PropertyValue neither reads it nor writes its `Computed`.
    if inner == rpc.UNKNOWN:
        return UNKNOWN
    if isinstance(inner, Mapping):
        return {key: _plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [_plain(item) for item in inner]
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, pulumi.Asset | pulumi.Archive):
        raise ValueError("the stand-in providers take no assets or archives")
    return inner


def _property(value: Plain) -> PropertyValue:
    if value is UNKNOWN:
        return PropertyValue(rpc.UNKNOWN)
    if isinstance(value, Mapping):
        return PropertyValue({key: _property(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return PropertyValue([_property(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)
