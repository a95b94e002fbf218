from __future__ import annotations

import pulumi
import pytest

from components import ArgumentError
from components.existing_vpc import FoundSubnets, find_subnets
from tests.components import cloud
from tests.components.deployment import deploy


def _find(vpc: str, zones: list[str]) -> FoundSubnets:
    found: list[FoundSubnets] = []
    deploy(lambda: found.append(find_subnets(pulumi.ComponentResource("test:index:Parent", "parent"), vpc, zones)))
    return found[0]


def test_a_subnet_is_public_when_its_default_route_leads_to_an_internet_gateway() -> None:
    found = _find("shared", cloud.ZONES)
    assert found.public == {zone: f"subnet-public-{zone}" for zone in cloud.ZONES}
    assert found.private == {zone: f"subnet-private-{zone}" for zone in cloud.ZONES}


def test_every_subnet_of_the_default_vpc_is_public() -> None:
    found = _find("default", cloud.ZONES)
    assert found.public == {zone: f"subnet-public-{zone}" for zone in cloud.ZONES}
    assert found.private == {}


def test_subnets_of_other_zones_stay_out() -> None:
    assert list(_find("default", ["eu-west-1b"]).public) == ["eu-west-1b"]


def test_a_vpc_that_is_not_found_is_an_error_that_says_what_can_be_named() -> None:
    with pytest.raises(ArgumentError, match="the Name tag of exactly one VPC"):
        _find(cloud.MISSING_VPC, cloud.ZONES)
