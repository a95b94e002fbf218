"""Look-ups in a VPC that exists. Their answers are plain values, known in a preview."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.default_route import Kind, kind_of
from components.errors import ArgumentError, Mistake

VPC_ID = re.compile(r"vpc-(?:[0-9a-f]{17}|[0-9a-f]{8})")
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html: the short ones are of before 2018."""

_LOAD_BALANCER_PREFIX = 27
"""The smallest subnet that a load balancer takes.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html"""


@dataclass(frozen=True)
class FoundSubnets:
    """A VPC's subnets by availability zone, one for each: those with a route to an internet gateway that a load
    balancer fits into, and those that reach the internet otherwise (through a NAT gateway, a firewall, ...)."""

    vpc_id: str
    public: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict)


def find_subnets(network: Component, vpc: str, zones: Sequence[str]) -> FoundSubnets:
    """The subnets, within `zones`, of the `default` VPC or of the one with the id, or else the `Name` tag, `vpc`.

    Of several in one zone the largest is taken, then the first by id: how full they are would choose others as they
    fill. Subnets of IPv6 alone and on Outposts are left out. Raises ArgumentError when there is no such VPC.
    """
    options = pulumi.InvokeOptions(parent=network)
    vpc_id = _vpc_id(network, vpc, options)
    filters = [aws.ec2.GetSubnetsFilterArgs(name="vpc-id", values=[vpc_id])]
    default = vpc == "default"
    if default:
        filters.append(aws.ec2.GetSubnetsFilterArgs(name="default-for-az", values=["true"]))
    kinds = {} if default else _kinds(vpc_id, options)
    found = [
        aws.ec2.get_subnet(id=subnet_id, opts=options)
        for subnet_id in aws.ec2.get_subnets(filters=filters, opts=options).ids
    ]
    public: dict[str, str] = {}
    private: dict[str, str] = {}
    for subnet in sorted(filter(_usable, found), key=lambda subnet: (_prefix(subnet), subnet.id)):
        # AWS makes the subnets of a default VPC public: they share the main route table, which has an internet gateway.
        kind = "public" if default else kinds.get(subnet.id, kinds.get("main", "isolated"))
        if subnet.availability_zone not in zones:
            continue
        if kind == "public" and _prefix(subnet) <= _LOAD_BALANCER_PREFIX:
            public.setdefault(subnet.availability_zone, subnet.id)
        elif kind == "private":
            private.setdefault(subnet.availability_zone, subnet.id)
    return FoundSubnets(vpc_id, public, private)


def _vpc_id(network: Component, vpc: str, options: pulumi.InvokeOptions) -> str:
    if vpc == "default":
        by, value = "is-default", "true"
    else:
        by, value = ("vpc-id" if VPC_ID.fullmatch(vpc) else "tag:Name"), vpc
    # The plural look-up, because it answers with none or several where the other one fails the program by itself.
    found = aws.ec2.get_vpcs(filters=[aws.ec2.GetVpcsFilterArgs(name=by, values=[value])], opts=options).ids
    if len(found) != 1:
        raise ArgumentError(
            f"Network {network.name!r}",
            Mistake(
                name="vpc",
                value=f"{vpc!r}, found {len(found)} times",
                allowed="'default', 'own', or the id or the Name tag of exactly one VPC in this account and region",
                remedy="give the id of the one that is meant"
                if found
                else "create the VPC, correct its name or id, or use 'own' for a VPC that this stack creates",
            ),
        )
    return found[0]


def _usable(subnet: aws.ec2.AwaitableGetSubnetResult) -> bool:
    # Outposts have no Fargate: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-outposts.html
    return bool(subnet.cidr_block) and not subnet.outpost_arn


def _prefix(subnet: aws.ec2.AwaitableGetSubnetResult) -> int:
    return int(subnet.cidr_block.partition("/")[2])


def _kinds(vpc_id: str, options: pulumi.InvokeOptions) -> dict[str, Kind]:
    # One that names no route table uses the VPC's main one.
    # https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html
    kinds: dict[str, Kind] = {}
    for table_id in aws.ec2.get_route_tables(vpc_id=vpc_id, opts=options).ids:
        table = aws.ec2.get_route_table(route_table_id=table_id, opts=options)
        for association in table.associations:
            kinds["main" if association.main else association.subnet_id] = kind_of(table.routes)
    return kinds
