from __future__ import annotations

import inspect

import pulumi_aws as aws
import pytest

from components.default_route import Kind, kind_of

Route = aws.ec2.outputs.GetRouteTableRouteResult
ATTRIBUTES = [name for name in inspect.signature(Route.__init__).parameters if name.isidentifier() and name[:2] != "__"]
DESTINATIONS = {"cidr_block", "ipv6_cidr_block", "destination_prefix_list_id"}
TARGETS: dict[tuple[str, str], Kind] = {
    ("gateway_id", "igw-1"): "public",
    ("gateway_id", "vgw-1"): "private",
    ("nat_gateway_id", "nat-1"): "private",
    ("transit_gateway_id", "tgw-1"): "private",
    ("core_network_arn", "arn:aws:networkmanager::123456789012:core-network/core-network-1"): "private",
    ("vpc_endpoint_id", "vpce-1"): "private",
    ("network_interface_id", "eni-1"): "private",
    ("instance_id", "i-1"): "private",
    ("vpc_peering_connection_id", "pcx-1"): "isolated",
    ("egress_only_gateway_id", "eigw-1"): "isolated",
    ("carrier_gateway_id", "cagw-1"): "isolated",
    ("local_gateway_id", "lgw-1"): "isolated",
    ("odb_network_arn", "arn:aws:odb:eu-west-1:123456789012:odb-network/odbnet-1"): "isolated",
}
INTERNET, NAT, FIREWALL = {"gateway_id": "igw-1"}, {"nat_gateway_id": "nat-1"}, {"vpc_endpoint_id": "vpce-1"}


def _route(**given: str) -> Route:
    return Route(**(dict.fromkeys(ATTRIBUTES, "") | given))


def test_every_attribute_that_a_route_has_is_decided() -> None:
    assert set(ATTRIBUTES) == DESTINATIONS | {target for target, _ in TARGETS}


@pytest.mark.parametrize(("target", "value"), TARGETS)
def test_the_target_of_the_default_route_decides(target: str, value: str) -> None:
    assert kind_of([_route(cidr_block="0.0.0.0/0", **{target: value})]) == TARGETS[target, value]


@pytest.mark.parametrize(
    ("routes", "kind"),
    [
        ({}, "isolated"),
        ({"10.0.0.0/8": NAT}, "isolated"),
        ({"0.0.0.0/0": INTERNET, "10.0.0.0/8": NAT}, "public"),
        ({"0.0.0.0/1": NAT, "128.0.0.0/1": NAT}, "private"),
        ({"0.0.0.0/1": INTERNET, "128.0.0.0/1": INTERNET}, "public"),
        # The halves are what counts, and each for itself.
        ({"0.0.0.0/0": INTERNET, "0.0.0.0/1": FIREWALL, "128.0.0.0/1": FIREWALL}, "private"),
        ({"0.0.0.0/0": NAT, "0.0.0.0/1": FIREWALL}, "private"),
        ({"0.0.0.0/1": NAT}, "isolated"),
        ({"0.0.0.0/1": NAT, "128.0.0.0/1": INTERNET}, "isolated"),
    ],
)
def test_the_longest_prefix_decides(routes: dict[str, dict[str, str]], kind: Kind) -> None:
    assert kind_of(_route(cidr_block=block, **target) for block, target in routes.items()) == kind


@pytest.mark.parametrize("destination", sorted(DESTINATIONS - {"cidr_block"}))
def test_ipv6_and_prefix_lists_are_no_default_route(destination: str) -> None:
    assert kind_of([_route(**{destination: "::/0", "gateway_id": "igw-1"})]) == "isolated"
