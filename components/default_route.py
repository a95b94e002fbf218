"""Where a route table sends what is meant for the internet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pulumi_aws as aws

Kind = Literal["public", "private", "isolated"]
"""What a route table makes of its subnets: `public` by an internet gateway, `private` by another way out."""

_WAYS_OUT = (
    "gateway_id",
    "nat_gateway_id",
    "transit_gateway_id",
    "core_network_arn",
    "vpc_endpoint_id",
    "network_interface_id",
    "instance_id",
)
"""Targets that lead, or may lead, to the internet: gateways (`igw-` and `vgw-`), NAT gateways, transit gateways, Cloud
WAN, endpoints of firewalls and other middleboxes, and instances that route.

The other targets never do, for IPv4 and in subnets that have Fargate. A peering connection carries nothing through the
other VPC's gateways (https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html), an ODB network's leads to
databases (https://docs.aws.amazon.com/odb/latest/UserGuide/configuring.html). An egress-only gateway is for IPv6, a
carrier gateway for Wavelength (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateRoute.html), a local
gateway for Outposts (https://docs.aws.amazon.com/vpc/latest/userguide/route-table-options.html#route-tables-lgw)."""

_HALVES = ("0.0.0.0/1", "128.0.0.0/1")


def kind_of(routes: Iterable[aws.ec2.outputs.GetRouteTableRouteResult]) -> Kind:
    """What the routes make of a subnet: the kind of its default route, or of both its halves where those are given.

    Halves go before the whole, as AWS takes the longest prefix
    (https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html); halves of two kinds are no way out.
    Prefix lists are not looked into. What the look-up does not tell is not known either: that a route is a blackhole,
    and routes that a virtual private gateway propagates
    (hashicorp/terraform-provider-aws, internal/service/ec2/vpc_route_table_data_source.go).
    """
    kinds = {route.cidr_block: _kind(route) for route in routes}
    whole = kinds.get("0.0.0.0/0", "isolated")
    halves = {kinds.get(half, whole) for half in _HALVES}
    return halves.pop() if len(halves) == 1 else "isolated"


def _kind(route: aws.ec2.outputs.GetRouteTableRouteResult) -> Kind:
    # A subnet is public by an internet gateway alone.
    # https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html#subnet-types
    if (route.gateway_id or "").startswith("igw-"):
        return "public"
    return "private" if any(getattr(route, target) for target in _WAYS_OUT) else "isolated"
