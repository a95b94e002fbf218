"""The VPCs of the mocked account, and the answers of the look-ups in them, in the shapes of the provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ZONE_IDS = {"eu-west-1a": "euw1-az2", "eu-west-1b": "euw1-az3", "eu-west-1c": "euw1-az1"}
"""The zones of the account's region: their names, and what they stand for in this account."""

INTERNET = {"gatewayId": "igw-1"}
NAT = {"natGatewayId": "nat-1"}
_TARGETS = (
    "carrierGatewayId",
    "coreNetworkArn",
    "destinationPrefixListId",
    "egressOnlyGatewayId",
    "gatewayId",
    "instanceId",
    "ipv6CidrBlock",
    "localGatewayId",
    "natGatewayId",
    "networkInterfaceId",
    "odbNetworkArn",
    "transitGatewayId",
    "vpcEndpointId",
    "vpcPeeringConnectionId",
)
Routes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Subnet:
    """A subnet, and the routes of its own route table (the target of each, by the block that it is for), if any."""

    zone: str
    routes: Routes | None = None
    cidr: str = "10.1.0.0/20"
    outpost: str = ""


@dataclass(frozen=True)
class Vpc:
    """A VPC with its `Name` tag, its subnets by id, and the routes of its main route table."""

    vpc_id: str
    name: str
    subnets: Mapping[str, Subnet]
    default: bool = False
    main: Routes = field(default_factory=dict)


def public(zone: str, **rest: Any) -> Subnet:
    return Subnet(zone, {"0.0.0.0/0": INTERNET}, **rest)


def private(zone: str, **rest: Any) -> Subnet:
    return Subnet(zone, {"0.0.0.0/0": NAT}, **rest)


def default_vpc() -> Vpc:
    subnets = {f"subnet-public-{zone}": Subnet(zone) for zone in reversed(ZONE_IDS)}
    return Vpc("vpc-0", "", subnets, default=True, main={"0.0.0.0/0": INTERNET})


def shared_vpc() -> Vpc:
    subnets = {f"subnet-public-{zone}": public(zone) for zone in reversed(ZONE_IDS)}
    subnets |= {f"subnet-private-{zone}": private(zone) for zone in ZONE_IDS}
    return Vpc("vpc-0123456789abcdef0", "shared", subnets)


EXTRA: list[Vpc] = []
"""VPCs that a test adds."""


def answers(args: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The answers of the look-ups."""
    vpcs = {vpc.vpc_id: vpc for vpc in (default_vpc(), shared_vpc(), *EXTRA)}
    filters = {item["name"]: item["values"] for item in args.get("filters") or []}
    vpc = vpcs.get(args.get("vpcId") or next(iter(filters.get("vpc-id", [])), ""))
    tables = {identity: table for each in vpcs.values() for identity, table in _route_tables(each).items()}
    return {
        "aws:index/getAvailabilityZones:getAvailabilityZones": {
            "names": list(ZONE_IDS),
            "zoneIds": list(ZONE_IDS.values()),
        },
        "aws:ec2/getVpcs:getVpcs": {"ids": [identity for identity, each in vpcs.items() if _matches(each, filters)]},
        "aws:ec2/getSubnets:getSubnets": {"ids": list(vpc.subnets) if vpc else []},
        "aws:ec2/getSubnet:getSubnet": _subnet(args.get("id"), vpcs),
        "aws:ec2/getRouteTables:getRouteTables": {"ids": list(_route_tables(vpc)) if vpc else []},
        "aws:ec2/getRouteTable:getRouteTable": tables.get(str(args.get("routeTableId")), {}),
    }


def _matches(vpc: Vpc, filters: Mapping[str, list[str]]) -> bool:
    facts = {"vpc-id": vpc.vpc_id, "tag:Name": vpc.name, "is-default": str(vpc.default).lower()}
    return all(facts.get(name) in values for name, values in filters.items())


def _subnet(identity: str | None, vpcs: Mapping[str, Vpc]) -> dict[str, Any]:
    subnets = {subnet_id: subnet for vpc in vpcs.values() for subnet_id, subnet in vpc.subnets.items()}
    if identity not in subnets:
        return {}
    found = subnets[identity]
    return {
        "id": identity,
        "availabilityZone": found.zone,
        "cidrBlock": found.cidr,
        "outpostArn": found.outpost,
    }


def _route_tables(vpc: Vpc) -> dict[str, dict[str, Any]]:
    tables = {f"rtb-{vpc.vpc_id}": _route_table(vpc.main, main=True)}
    for identity, subnet in vpc.subnets.items():
        if subnet.routes is not None:
            tables[f"rtb-{identity}"] = _route_table(subnet.routes, subnet_id=identity)
    return tables


def _route_table(routes: Routes, *, subnet_id: str = "", main: bool = False) -> dict[str, Any]:
    return {
        # What does not apply is an empty string.
        "routes": [{**dict.fromkeys(_TARGETS, ""), "cidrBlock": block, **to} for block, to in routes.items()],
        "associations": [{"main": main, "subnetId": subnet_id, "gatewayId": ""}],
    }
