"""The provider functions ("invokes") that the stand-in answers, without an account.

Look-ups find what a usual account has: a default VPC over three zones, any VPC, zone or certificate by the name that is
asked for. The same question gets the same answer in every run, so that nothing changes from one plan to the next.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from local.providers.aws.place import Place, stable_hex
from local.providers.standin import Properties

Function = Callable[[Place, Properties], Properties]


def _caller_identity(place: Place, arguments: Properties) -> Properties:
    user = place.arn("iam", "user/local", region="")
    return {"id": place.account, "accountId": place.account, "arn": user, "userId": "AIDALOCALSTACKOPERATOR"}


def _region(place: Place, arguments: Properties) -> Properties:
    name = arguments.get("region") or place.region
    return {"id": name, "name": name, "region": name, "description": name, "endpoint": f"ec2.{name}.{place.dns_suffix}"}


def _partition(place: Place, arguments: Properties) -> Properties:
    reverse = ".".join(reversed(place.dns_suffix.split(".")))
    return {
        "id": place.partition,
        "partition": place.partition,
        "dnsSuffix": place.dns_suffix,
        "reverseDnsPrefix": reverse,
    }


def _availability_zones(place: Place, arguments: Properties) -> Properties:
    zones = [zone for zone in place.zones() if zone not in (arguments.get("excludeNames") or [])]
    return {"id": place.region, "names": zones, "zoneIds": [f"az{n}" for n, _ in enumerate(zones, 1)], "groupNames": []}


def _default_tags(place: Place, arguments: Properties) -> Properties:
    return {"id": "default-tags", "tags": dict(place.default_tags)}


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


def _subnet_ids(place: Place, vpc_id: str) -> dict[str, tuple[str, bool, int]]:
    """The subnets of a VPC that was looked up: id -> (zone, public, position). The default VPC has public ones only."""
    found: dict[str, tuple[str, bool, int]] = {}
    kinds = (True,) if vpc_id == _vpc_id(place, _DEFAULT_VPC) else (True, False)
    for public in kinds:
        for zone in place.zones():
            identity = f"subnet-{stable_hex(vpc_id, zone, str(public))}"
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
                "availability-zone": zone,
                "map-public-ip-on-launch": str(public).lower(),
                "default-for-az": str(vpc_id == _vpc_id(place, _DEFAULT_VPC)).lower(),
                "state": "available",
            }
            unknown = sorted(filters.keys() - facts.keys())
            if unknown:
                raise ValueError(f"the stand-in knows no subnet filter {unknown}; it knows {sorted(facts)} and vpc-id")
            if all(facts[name] in values for name, values in filters.items()):
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
        position = int(stable_hex(identity, length=4), 16) % 3
        zone = place.zones()[position]
    return {
        "id": identity,
        "arn": place.arn("ec2", f"subnet/{identity}"),
        "availabilityZone": zone,
        "availabilityZoneId": f"az{position % 3 + 1}",
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
                route = {"cidrBlock": "0.0.0.0/0", "gatewayId": "", "natGatewayId": "", "transitGatewayId": ""}
                way_out = (
                    {"gatewayId": f"igw-{stable_hex(vpc_id)}"}
                    if public
                    else {"natGatewayId": f"nat-{stable_hex(vpc_id)}"}
                )
                return {
                    "id": identity,
                    "routeTableId": identity,
                    "vpcId": vpc_id,
                    "routes": [route | {"networkInterfaceId": ""} | way_out],
                    "associations": [
                        {"main": False, "subnetId": member, "gatewayId": "", "routeTableId": identity}
                        for member in members
                    ],
                    "tags": {},
                    "ownerId": place.account,
                }
    raise ValueError(f"the stand-in knows no route table {table or 'of ' + str(subnet)}: look its VPC up first")


def _security_group(place: Place, arguments: Properties) -> Properties:
    name = str(arguments.get("name") or "default")
    identity = str(arguments.get("id") or f"sg-{stable_hex(str(arguments.get('vpcId')), name)}")
    return {"id": identity, "name": name, "arn": place.arn("ec2", f"security-group/{identity}"), "tags": {}}


def _ecr_token(place: Place, arguments: Properties) -> Properties:
    # Another one at each call, as the real one: a program must not depend on it.
    password = f"local-stack-{secrets.token_hex(8)}"
    registry = f"{arguments.get('registryId') or place.account}.dkr.ecr.{place.region}.{place.dns_suffix}"
    return {
        "id": place.region,
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": "2100-01-01T00:00:00Z",
        "password": password,
        "proxyEndpoint": f"https://{registry}",
        "userName": "AWS",
    }


def _ecr_credentials(place: Place, arguments: Properties) -> Properties:
    token = _ecr_token(place, arguments)
    return {key: token[key] for key in ("id", "authorizationToken", "expiresAt", "proxyEndpoint")}


def _hosted_zone(place: Place, arguments: Properties) -> Properties:
    name = str(arguments.get("name") or arguments.get("zoneId") or "")
    if not name:
        raise ValueError("a hosted zone is found by `name` or `zoneId`")
    identity = str(arguments.get("zoneId") or "Z" + stable_hex(name.rstrip("."), length=20).upper())
    return {
        "id": identity,
        "zoneId": identity,
        "arn": f"arn:{place.partition}:route53:::hostedzone/{identity}",
        "name": name.rstrip("."),
        "nameServers": [],
        "privateZone": bool(arguments.get("privateZone", False)),
        "tags": {},
    }


def _certificate(place: Place, arguments: Properties) -> Properties:
    domain = str(arguments.get("domain") or "")
    arn = place.arn("acm", f"certificate/{stable_hex(domain, length=32)}")
    return {"id": arn, "arn": arn, "domain": domain, "status": "ISSUED", "tags": {}}


def _kms_alias(place: Place, arguments: Properties) -> Properties:
    name = str(arguments["name"])
    key_id = stable_hex(name, length=32)
    key_arn = place.arn("kms", f"key/{key_id}")
    return {"id": name, "name": name, "arn": place.arn("kms", name), "targetKeyId": key_id, "targetKeyArn": key_arn}


def _managed_prefix_list(place: Place, arguments: Properties) -> Properties:
    name = str(arguments.get("name") or "")
    return {"id": f"pl-{stable_hex(name, length=8)}", "name": name, "entries": [], "arn": "", "tags": {}}


def _ssm_parameter(place: Place, arguments: Properties) -> Properties:
    name = str(arguments["name"])
    value = f"value-of-{stable_hex(name, length=8)}"
    arn = place.arn("ssm", f"parameter/{name.lstrip('/')}")
    return {
        "id": name,
        "name": name,
        "arn": arn,
        "type": "String",
        "value": value,
        "insecureValue": value,
        "version": 1,
    }


def _policy_document(place: Place, arguments: Properties) -> Properties:
    statements = [_statement(statement) for statement in arguments.get("statements") or []]
    document = {"Version": arguments.get("version") or "2012-10-17", "Statement": statements}
    text = json.dumps(document, indent=2)
    return {
        "id": stable_hex(text, length=10),
        "json": text,
        "minifiedJson": json.dumps(document, separators=(",", ":")),
    }


def _statement(statement: Properties) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": statement.get("effect") or "Allow"}
    if statement.get("sid"):
        made["Sid"] = statement["sid"]
    for key, name in (
        ("actions", "Action"),
        ("notActions", "NotAction"),
        ("resources", "Resource"),
        ("notResources", "NotResource"),
    ):
        values = sorted(statement.get(key) or [])
        if values:
            made[name] = values[0] if len(values) == 1 else values
    for principal in statement.get("principals") or []:
        values = principal["identifiers"]
        made.setdefault("Principal", {})[principal["type"]] = values[0] if len(values) == 1 else values
    for condition in statement.get("conditions") or []:
        values = condition["values"]
        made.setdefault("Condition", {}).setdefault(condition["test"], {})[condition["variable"]] = (
            values[0] if len(values) == 1 else values
        )
    return made


def _filters(arguments: Properties) -> dict[str, list[str]]:
    return {item["name"]: list(item["values"]) for item in arguments.get("filters") or []}


FUNCTIONS: Mapping[str, Function] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _availability_zones,
    "aws:index/getDefaultTags:getDefaultTags": _default_tags,
    "aws:ec2/getVpc:getVpc": _remembering_vpc,
    "aws:ec2/getVpcs:getVpcs": _vpcs,
    "aws:ec2/getSubnets:getSubnets": _subnets,
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:ec2/getRouteTables:getRouteTables": _route_tables,
    "aws:ec2/getRouteTable:getRouteTable": _route_table,
    "aws:ec2/getSecurityGroup:getSecurityGroup": _security_group,
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": _managed_prefix_list,
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _ecr_token,
    "aws:ecr/getCredentials:getCredentials": _ecr_credentials,
    "aws:route53/getZone:getZone": _hosted_zone,
    "aws:acm/getCertificate:getCertificate": _certificate,
    "aws:kms/getAlias:getAlias": _kms_alias,
    "aws:ssm/getParameter:getParameter": _ssm_parameter,
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
}
