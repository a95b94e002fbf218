"""The availability zones of the regions.

https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html lists the ids. Which letter
has which id differs from account to account in the older regions; here it is as in the account that moto's list
(`moto/ec2/models/availability_zones_and_regions.py`) comes from. Regions that aren't here have the zones a, b and c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Where it isn't az1 to az3 for a to c: the ids' numbers by letter.
_UNUSUAL: Mapping[str, Mapping[str, int]] = {
    "ap-northeast-1": {"a": 4, "c": 1, "d": 2},
    "ap-northeast-2": {"a": 1, "b": 2, "c": 3, "d": 4},
    "ap-south-1": {"a": 1, "b": 3, "c": 2},
    "ap-southeast-2": {"a": 1, "b": 3, "c": 2},
    "ca-central-1": {"a": 1, "b": 2, "d": 4},
    "cn-north-1": {"a": 1, "b": 2},
    "eu-west-1": {"a": 3, "b": 1, "c": 2},
    "eu-west-2": {"a": 2, "b": 3, "c": 1},
    "us-east-1": {"a": 6, "b": 1, "c": 2, "d": 4, "e": 3, "f": 5},
    "us-west-1": {"a": 3, "b": 1},
    "us-west-2": {"a": 2, "b": 1, "c": 3, "d": 4},
}
_USUAL: Mapping[str, int] = {"a": 1, "b": 2, "c": 3}
_DIRECTIONS = {
    "northeast": "ne",
    "northwest": "nw",
    "southeast": "se",
    "southwest": "sw",
    "central": "c",
    "north": "n",
    "south": "s",
    "east": "e",
    "west": "w",
}


@dataclass(frozen=True)
class Zone:
    """One availability zone: `us-east-1a`, `use1-az6`."""

    name: str
    id: str


def zones_of(region: str) -> list[Zone]:
    """The region's availability zones, sorted by their names."""
    prefix = _id_prefix(region)
    return [
        Zone(f"{region}{letter}", f"{prefix}-az{number}") for letter, number in _UNUSUAL.get(region, _USUAL).items()
    ]


def _id_prefix(region: str) -> str:
    # us-east-1: use1; ap-northeast-3: apne3; us-gov-west-1: usgw1.
    *area, direction, number = region.split("-")
    country = "".join(part if index == 0 else part[0] for index, part in enumerate(area))
    return f"{country}{_DIRECTIONS.get(direction, direction)}{number}"
