"""Look-ups in a VPC that exists. Their answers are plain values, known in a preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.errors import ArgumentError, Mistake


@dataclass(frozen=True)
class FoundSubnets:
    """A VPC's subnets by availability zone, one for each: those with a route to an internet gateway, and those that
    reach the internet otherwise (through a NAT gateway, a transit gateway, ...)."""

    vpc_id: str
    public: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict)


def find_subnets(parent: pulumi.Resource, vpc: str, zones: Sequence[str]) -> FoundSubnets:
    """The subnets, within `zones`, of the `default` VPC or of the VPC whose `Name` tag is `vpc`.

    Raises ArgumentError when there is no such VPC.
    """
    options = pulumi.InvokeOptions(parent=parent)
    default = vpc == "default"
    vpc_id = _vpc_id(vpc, default, options)
    filters = [aws.ec2.GetSubnetsFilterArgs(name="vpc-id", values=[vpc_id])]
    if default:
        filters.append(aws.ec2.GetSubnetsFilterArgs(name="default-for-az", values=["true"]))
    routes = {} if default else _default_routes(vpc_id, options)
    public: dict[str, str] = {}
    private: dict[str, str] = {}
    for subnet_id in sorted(aws.ec2.get_subnets(filters=filters, opts=options).ids):
        zone = aws.ec2.get_subnet(id=subnet_id, opts=options).availability_zone
        # AWS makes the subnets of a default VPC public: they share the main route table, which has an internet gateway.
        way_out = "igw" if default else routes.get(subnet_id, routes.get("main", ""))
        if zone in zones and way_out:
            (public if way_out.startswith("igw") else private).setdefault(zone, subnet_id)
    return FoundSubnets(vpc_id, public, private)


def _vpc_id(vpc: str, default: bool, options: pulumi.InvokeOptions) -> str:
    if default:
        return aws.ec2.get_vpc(default=True, opts=options).id
    # The plural look-up, because it answers with none or several where the other one fails the program by itself.
    found = aws.ec2.get_vpcs(tags={"Name": vpc}, opts=options).ids
    if len(found) != 1:
        raise ArgumentError(
            "Network",
            Mistake(
                name="vpc",
                value=f"{vpc!r}, which {len(found)} VPCs are called",
                allowed="'default', 'own', or the Name tag of exactly one VPC in this account and region",
                remedy="create or rename the VPC, correct the name, or use 'own' for a VPC that this stack creates",
            ),
        )
    return found[0]


def _default_routes(vpc_id: str, options: pulumi.InvokeOptions) -> dict[str, str]:
    # A subnet is public when its default route leads to an internet gateway; one that names no route table uses the
    # VPC's main one. https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html#subnet-types
    routes: dict[str, str] = {}
    for table_id in aws.ec2.get_route_tables(vpc_id=vpc_id, opts=options).ids:
        table = aws.ec2.get_route_table(route_table_id=table_id, opts=options)
        way_out = next(
            (
                route.gateway_id or route.nat_gateway_id or route.transit_gateway_id or route.network_interface_id
                for route in table.routes
                if route.cidr_block == "0.0.0.0/0"
            ),
            "",
        )
        for association in table.associations:
            routes["main" if association.main else association.subnet_id] = way_out
    return routes
