"""Look-ups of VPCs: availability zones, subnets, and the ways out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from local.providers.aws.place import Place, stable_hex
from local.providers.aws.regions import Zone
from local.providers.kind import Properties

# What a route has: the provider answers what it hasn't with empty texts (outputs.GetRouteTableRouteResult of the SDK).
_ROUTE = dict.fromkeys(
    [
        "carrierGatewayId",
        "cidrBlock",
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
    ],
    "",
)


def _availability_zones(place: Place, arguments: Properties) -> Properties:
    # internal/service/ec2/ec2_availability_zones_data_source.go of hashicorp/terraform-provider-aws: what is excluded goes,
    # the rest is sorted by name, names and ids in parallel.
    filters = _filters(arguments)
    without = {*(arguments.get("excludeNames") or []), *(arguments.get("excludeZoneIds") or [])}
    zones = []
    for zone in place.zones():
        facts = {
            "group-name": place.region,
            "message": "",
            "opt-in-status": "opt-in-not-required",
            "region-name": place.region,
            "state": "available",
            "zone-id": zone.id,
            "zone-name": zone.name,
            "zone-type": "availability-zone",
        }
        asked = filters | ({"state": [arguments["state"]]} if arguments.get("state") else {})
        if _matches("zone", facts, asked) and not without & {zone.name, zone.id}:
            zones.append(zone)
    return {
        "id": place.region,
        "names": [zone.name for zone in zones],
        "zoneIds": [zone.id for zone in zones],
        "groupNames": [place.region] if zones else [],
    }


_DEFAULT_VPC = "the default VPC"


def _vpc_id(place: Place, name: str) -> str:
    return f"vpc-{stable_hex(place.region, name)}"


def _vpc(place: Place, arguments: Properties) -> Properties:
    filters = _filters(arguments)
    tags = arguments.get("tags") or {}
    if arguments.get("default"):
        vpc_id = _vpc_id(place, _DEFAULT_VPC)
    elif arguments.get("id"):
        vpc_id = str(arguments["id"])
    else:
        name = tags.get("Name") or next(iter(filters.get("tag:Name", [])), None)
        if name is None:
            raise ValueError("the stand-in finds a VPC by `default`, by `id` or by its tag `Name`")
        vpc_id = _vpc_id(place, name)
    default = vpc_id == _vpc_id(place, _DEFAULT_VPC)
    return {
        "id": vpc_id,
        "arn": place.arn("ec2", f"vpc/{vpc_id}"),
        "cidrBlock": "172.31.0.0/16" if default else "10.20.0.0/16",
        "default": default,
        "enableDnsHostnames": True,
        "enableDnsSupport": True,
        "mainRouteTableId": f"rtb-{stable_hex(vpc_id, 'main')}",
        "ownerId": place.account,
        "state": "available",
        "tags": tags,
    }


def _subnet_ids(place: Place, vpc_id: str) -> dict[str, tuple[Zone, bool, int]]:
    """The subnets of a VPC that was looked up: id -> (zone, public, position). The default VPC has public ones only."""
    found: dict[str, tuple[Zone, bool, int]] = {}
    kinds = (True,) if vpc_id == _vpc_id(place, _DEFAULT_VPC) else (True, False)
    for public in kinds:
        for zone in place.zones():
            identity = f"subnet-{stable_hex(vpc_id, zone.name, str(public))}"
            found[identity] = (zone, public, len(found))
    return found


def _subnets(place: Place, arguments: Properties) -> Properties:
    filters = _filters(arguments)
    if "vpc-id" not in filters:
        raise ValueError("the stand-in lists subnets by the filter `vpc-id`")
    ids = []
    for vpc_id in filters.pop("vpc-id"):
        for identity, (zone, public, _) in _subnet_ids(place, vpc_id).items():
            facts = {
                "availability-zone": zone.name,
                "availability-zone-id": zone.id,
                "map-public-ip-on-launch": str(public).lower(),
                "default-for-az": str(vpc_id == _vpc_id(place, _DEFAULT_VPC)).lower(),
                "state": "available",
            }
            if _matches("subnet", facts, filters):
                ids.append(identity)
    return {"id": place.region, "ids": ids}


def _subnet(place: Place, arguments: Properties) -> Properties:
    identity = str(arguments.get("id", ""))
    for vpc_id in _known_vpcs(place, arguments):
        if identity in _subnet_ids(place, vpc_id):
            zone, public, position = _subnet_ids(place, vpc_id)[identity]
            break
    else:
        # A subnet of a VPC that was found by its name: any zone is as good, but always the same one.
        vpc_id, public = f"vpc-{stable_hex(identity)}", False
        position = int(stable_hex(identity, length=4), 16) % len(place.zones())
        zone = place.zones()[position]
    return {
        "id": identity,
        "arn": place.arn("ec2", f"subnet/{identity}"),
        "availabilityZone": zone.name,
        "availabilityZoneId": zone.id,
        "cidrBlock": f"172.31.{position * 16}.0/20",
        "mapPublicIpOnLaunch": public,
        "state": "available",
        "vpcId": vpc_id,
        "tags": {},
        "ownerId": place.account,
    }


def _known_vpcs(place: Place, arguments: Properties) -> list[str]:
    return [str(arguments["vpcId"])] if arguments.get("vpcId") else [_vpc_id(place, _DEFAULT_VPC), *_SEEN_VPCS]


# VPCs that this process has been asked for, so that their subnets are known again by id alone.
_SEEN_VPCS: dict[str, None] = {}


def _remembering_vpc(place: Place, arguments: Properties) -> Properties:
    answer = _vpc(place, arguments)
    _SEEN_VPCS[str(answer["id"])] = None
    return answer


def _vpcs(place: Place, arguments: Properties) -> Properties:
    filters = _filters(arguments)
    name = (arguments.get("tags") or {}).get("Name") or next(iter(filters.get("tag:Name", [])), None)
    vpc_id = next(iter(filters.get("vpc-id", [])), None)
    if name is not None:
        vpc_id = _vpc_id(place, name)
    elif filters.get("is-default") == ["true"]:
        vpc_id = _vpc_id(place, _DEFAULT_VPC)
    if vpc_id is None:
        raise ValueError("the stand-in lists VPCs by their tag `Name` or the filters `vpc-id` and `is-default`")
    _SEEN_VPCS[vpc_id] = None
    return {"id": place.region, "ids": [vpc_id]}


def _route_tables(place: Place, arguments: Properties) -> Properties:
    vpc_id = arguments.get("vpcId") or next(iter(_filters(arguments).get("vpc-id", [])), None)
    if vpc_id is None:
        raise ValueError("the stand-in lists route tables by `vpcId` or the filter `vpc-id`")
    return {"id": place.region, "ids": list(_tables_of(place, str(vpc_id)))}


def _tables_of(place: Place, vpc_id: str) -> dict[str, tuple[bool, list[str]]]:
    """The route tables of a VPC that was looked up: id -> (whether to the internet gateway, the subnets)."""
    subnets = _subnet_ids(place, vpc_id)
    tables: dict[str, tuple[bool, list[str]]] = {}
    for public in (True, False):
        members = [identity for identity, (_, is_public, _) in subnets.items() if is_public == public]
        if members:
            tables[f"rtb-{stable_hex(vpc_id, 'public' if public else 'private')}"] = (public, members)
    return tables


def _route_table(place: Place, arguments: Properties) -> Properties:
    table, subnet = arguments.get("routeTableId"), arguments.get("subnetId")
    for vpc_id in _known_vpcs(place, arguments):
        for identity, (public, members) in _tables_of(place, vpc_id).items():
            if identity == table or (table is None and subnet in members):
                way_out = (
                    {"gatewayId": f"igw-{stable_hex(vpc_id)}"}
                    if public
                    else {"natGatewayId": f"nat-{stable_hex(vpc_id)}"}
                )
                return {
                    "id": identity,
                    "routeTableId": identity,
                    "vpcId": vpc_id,
                    "routes": [_ROUTE | {"cidrBlock": "0.0.0.0/0"} | way_out],
                    "associations": [
                        {"main": False, "subnetId": member, "gatewayId": "", "routeTableId": identity}
                        for member in members
                    ],
                    "tags": {},
                    "ownerId": place.account,
                }
    raise ValueError(f"the stand-in knows no route table {table or 'of ' + str(subnet)}: look its VPC up first")


def _filters(arguments: Properties) -> dict[str, list[str]]:
    return {item["name"]: list(item["values"]) for item in arguments.get("filters") or []}


def _matches(what: str, facts: Mapping[str, str], filters: Mapping[str, list[str]]) -> bool:
    unknown = sorted(filters.keys() - facts.keys())
    if unknown:
        raise ValueError(f"the stand-in knows no {what} filter {unknown}; it knows {sorted(facts)}")
    return all(facts[name] in values for name, values in filters.items())


FUNCTIONS: Mapping[str, Callable[[Place, Properties], Properties]] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": _availability_zones,
    "aws:ec2/getVpc:getVpc": _remembering_vpc,
    "aws:ec2/getVpcs:getVpcs": _vpcs,
    "aws:ec2/getSubnets:getSubnets": _subnets,
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:ec2/getRouteTables:getRouteTables": _route_tables,
    "aws:ec2/getRouteTable:getRouteTable": _route_table,
}
