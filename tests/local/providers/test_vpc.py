"""Zones, subnets and routes as the data sources of the real provider answer them."""

from __future__ import annotations

from typing import Any

import pulumi_aws as aws
import pytest
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from pulumi import _types

from local.providers.aws.functions import FUNCTIONS
from local.providers.aws.place import place_in
from local.providers.aws.regions import zones_of


def ask(function: str, region: str = "us-east-1", **arguments: Any) -> Any:
    return FUNCTIONS[f"aws:{function}"](place_in(region), arguments)


def zones(region: str = "us-east-1", **arguments: Any) -> Any:
    return ask("index/getAvailabilityZones:getAvailabilityZones", region, **arguments)


@pytest.mark.parametrize("region", sorted(RegionsAndZonesBackend.zones))
def test_the_zones_are_those_of_the_region(region: str) -> None:
    witness = [(zone.name, zone.zone_id) for zone in RegionsAndZonesBackend.zones[region]]
    assert [(zone.name, zone.id) for zone in zones_of(region)] == witness


def test_the_default_region_has_six_zones_and_one_that_is_not_known_three() -> None:
    assert zones()["names"] == [f"us-east-1{letter}" for letter in "abcdef"]
    assert sorted(zones()["zoneIds"]) == [f"use1-az{number}" for number in range(1, 7)]
    assert zones("ap-southeast-9")["zoneIds"] == ["apse9-az1", "apse9-az2", "apse9-az3"]


@pytest.mark.parametrize(
    ("arguments", "letters"),
    [
        ({"excludeNames": ["us-east-1a", "us-east-1f"]}, "bcde"),
        ({"excludeZoneIds": ["use1-az3", "use1-az1"]}, "acdf"),
        ({"filters": [{"name": "zone-id", "values": ["use1-az5", "use1-az6"]}]}, "af"),
        ({"filters": [{"name": "opt-in-status", "values": ["opt-in-not-required"]}], "state": "available"}, "abcdef"),
        ({"filters": [{"name": "opt-in-status", "values": ["opted-in"]}]}, ""),
        ({"filters": [{"name": "zone-type", "values": ["local-zone"]}]}, ""),
        ({"state": "impaired"}, ""),
    ],
)
def test_zones_are_excluded_and_filtered(arguments: Any, letters: str) -> None:
    answer = zones(**arguments)
    assert answer["names"] == [f"us-east-1{letter}" for letter in letters]
    ids = {zone.name: zone.id for zone in zones_of("us-east-1")}
    assert answer["zoneIds"] == [ids[name] for name in answer["names"]]


def test_a_filter_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match=r"no zone filter \['zone-colour'\]"):
        zones(filters=[{"name": "zone-colour", "values": ["green"]}])


def test_subnets_say_the_zones_names_and_ids() -> None:
    vpc = ask("ec2/getVpc:getVpc", default=True)
    ids = ask("ec2/getSubnets:getSubnets", filters=[{"name": "vpc-id", "values": [vpc["id"]]}])["ids"]
    found = [ask("ec2/getSubnet:getSubnet", id=identity) for identity in ids]
    assert {subnet["availabilityZone"]: subnet["availabilityZoneId"] for subnet in found} == {
        zone.name: zone.id for zone in zones_of("us-east-1")
    }
    by_id = [{"name": "vpc-id", "values": [vpc["id"]]}, {"name": "availability-zone-id", "values": ["use1-az1"]}]
    [only] = ask("ec2/getSubnets:getSubnets", filters=by_id)["ids"]
    assert ask("ec2/getSubnet:getSubnet", id=only)["availabilityZoneId"] == "use1-az1"


def test_a_route_has_every_attribute_that_the_sdk_reads() -> None:
    vpc = ask("ec2/getVpc:getVpc", tags={"Name": "shared"})
    for table in ask("ec2/getRouteTables:getRouteTables", vpcId=vpc["id"])["ids"]:
        [route] = ask("ec2/getRouteTable:getRouteTable", routeTableId=table)["routes"]
        names = _types.output_type_types(aws.ec2.outputs.GetRouteTableRouteResult)
        assert set(route) == set(names)
        assert route["cidrBlock"] == "0.0.0.0/0"
        assert [key for key, value in route.items() if value] in (
            ["cidrBlock", "gatewayId"],
            ["cidrBlock", "natGatewayId"],
        )
