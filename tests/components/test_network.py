from __future__ import annotations

import inspect
import ipaddress
from typing import Any

import pulumi
import pytest

from components import ArgumentError, Network
from tests.components import parts, vpcs
from tests.components.deployment import Deployment, deploy, deploy_twice


def _deployed(**arguments: object) -> Deployment:
    def program() -> None:
        network = parts.network(**arguments)
        pulumi.export("vpc", network.vpc_id)
        pulumi.export("public", dict(network.public_subnets))
        pulumi.export("tasks", dict(network.task_subnets))
        pulumi.export("assign", network.assign_public_ip)

    return deploy_twice(program)


def _vpc(name: str, *, public: str, private: str) -> vpcs.Vpc:
    subnets = {f"subnet-public-{letter}": vpcs.public(f"eu-west-1{letter}") for letter in public}
    subnets |= {f"subnet-private-{letter}": vpcs.private(f"eu-west-1{letter}") for letter in private}
    return vpcs.Vpc("vpc-0a1b2c3d4e5f60718", name, subnets)


def test_the_default_vpc_is_used_as_it_is_with_public_addresses_in_its_first_zones() -> None:
    deployment = _deployed(vpc="default", availability_zones=2)
    assert not [resource for resource in deployment.resources if resource.options.custom]
    assert deployment.outputs == {
        "vpc": "vpc-0",
        "public": {zone: f"subnet-public-{zone}" for zone in ("eu-west-1a", "eu-west-1b")},
        "tasks": {zone: f"subnet-public-{zone}" for zone in ("eu-west-1a", "eu-west-1b")},
        "assign": True,
    }


def test_a_vpc_by_its_name_runs_tasks_in_the_subnets_that_no_internet_gateway_reaches() -> None:
    deployment = _deployed(vpc="shared", availability_zones=2)
    assert deployment.outputs["vpc"] == "vpc-0123456789abcdef0"
    for kind, subnets in (("public", "public"), ("tasks", "private")):
        assert deployment.outputs[kind] == {zone: f"subnet-{subnets}-{zone}" for zone in ("eu-west-1a", "eu-west-1b")}
    assert deployment.outputs["assign"] is False


_WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"vpc": ""}, "vpc", "default, own, or the id or the Name tag"),
    ({"vpc": " own"}, "vpc", "default, own, or the id or the Name tag"),
    ({"vpc": None}, "vpc", "text"),
    ({"availability_zones": 0}, "availability_zones", "2 to 8 (a load balancer needs two"),
    ({"availability_zones": -1}, "availability_zones", "2 to 8"),
    ({"availability_zones": 1}, "availability_zones", "2 to 8"),
    ({"availability_zones": 9}, "availability_zones", "2 to 8"),
    ({"availability_zones": "2"}, "availability_zones", "a whole number"),
    ({"cidr_block": 10}, "cidr_block", "text"),
    ({"nat_gateways": "one"}, "nat_gateways", "none, single or per-az"),
    ({"nat_gateways": "per_az"}, "nat_gateways", "none, single or per-az"),
    ({"nat_gateways": ""}, "nat_gateways", "none, single or per-az"),
    ({"nat_gateways": True}, "nat_gateways", "none, single or per-az"),
    ({"vpc": "default", "nat_gateways": "single"}, "nat_gateways", "a VPC that exists keeps its shape"),
    ({"vpc": "shared", "cidr_block": "10.1.0.0/16"}, "cidr_block", "a VPC that exists keeps its shape"),
    *[({"cidr_block": block}, "cidr_block", "a private IPv4 block of /16 to /23") for block in (
        "", "10.0.0.0", "10.0.0.0/28", "10.0.0.0/24", "10.0.0.0/8", "10.0.0.1/16", "10.0.0.0/255.255.0.0", "fd00::/16",
        "8.8.0.0/16", "127.0.0.0/16", "169.254.0.0/16",
    )],
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "name", "allowed"), _WRONG)
def test_an_argument_that_cannot_work_is_told_before_anything_is_registered_or_looked_up(
    arguments: dict[str, Any], name: str, allowed: str
) -> None:
    # Without an engine, which whatever is registered or looked up would miss.
    with pytest.raises(ArgumentError) as caught:
        parts.network(**{"vpc": "own", **arguments})
    (mistake,) = caught.value.mistakes
    assert mistake.name == name
    assert repr(arguments[name]) in mistake.value
    assert allowed in mistake.allowed
    assert mistake.remedy


def test_every_argument_of_the_network_has_a_wrong_value_here() -> None:
    shared = {"self", "name", "overrides", "opts"}
    assert set(inspect.signature(Network.__init__).parameters) - shared == {name for _, name, _ in _WRONG}


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        parts.network(vpc="", availability_zones=0, cidr_block="10.0.0.0", nat_gateways="one")
    assert [mistake.name for mistake in caught.value.mistakes] == [
        "vpc", "availability_zones", "cidr_block", "nat_gateways"
    ]  # fmt: skip
    with pytest.raises(ArgumentError) as caught:
        parts.network(vpc="shared", cidr_block="10.1.0.0/16", nat_gateways="single")
    assert [mistake.name for mistake in caught.value.mistakes] == ["cidr_block", "nat_gateways"]


@pytest.mark.parametrize("arguments", [{"vpc": "missing"}, {"vpc": "shared", "availability_zones": 4}])
def test_what_only_a_look_up_tells_is_told_before_any_child_is_registered(arguments: dict[str, Any]) -> None:
    def program() -> None:
        with pytest.raises(ArgumentError):
            parts.network(**arguments)

    assert [resource.type for resource in deploy(program).resources] == ["ecs-file-ingest:index:Network"]


@pytest.mark.parametrize("vpc", ["default", "own", "shared"])
def test_more_zones_than_there_are_is_an_error_that_names_those(vpc: str) -> None:
    with pytest.raises(ArgumentError, match="eu-west-1a, eu-west-1b, eu-west-1c"):
        deploy(lambda: parts.network(vpc=vpc, availability_zones=4))


@pytest.mark.parametrize("vpc", ["default", "own", "shared", "staggered"])
def test_the_load_balancer_is_in_the_zones_of_the_tasks(vpc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpcs, "EXTRA", [_vpc("staggered", public="abc", private="bc")])
    deployment = _deployed(vpc=vpc, availability_zones=2, **({"nat_gateways": "single"} if vpc == "own" else {}))
    assert set(deployment.outputs["public"]) == set(deployment.outputs["tasks"])
    assert len(deployment.outputs["tasks"]) == 2


@pytest.mark.parametrize(("public", "private"), [("ab", ""), ("abc", "c"), ("a", "abc"), ("ab", "bc")])
def test_too_few_zones_with_subnets_of_both_kinds_is_an_error_that_lists_each(
    public: str, private: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vpcs, "EXTRA", [_vpc("few", public=public, private=private)])
    with pytest.raises(ArgumentError) as caught:
        deploy(lambda: parts.network(vpc="few", availability_zones=2))
    (mistake,) = caught.value.mistakes
    assert (mistake.name, mistake.value) == ("availability_zones", "2")
    for kind, zones in (("public", public), ("private", private)):
        assert f"{kind} in {', '.join(f'eu-west-1{letter}' for letter in zones) or 'none'}" in mistake.allowed
    for way in ("add the missing subnets", "'own'", "'default'"):
        assert way in mistake.remedy


def test_a_vpc_of_its_own_has_no_subnet_where_there_is_no_fargate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        vpcs, "ZONE_IDS", {"us-west-1a": "usw1-az2", "us-west-1b": "usw1-az1", "us-west-1c": "usw1-az3"}
    )
    deployment = _deployed(vpc="own", availability_zones=2)
    assert deployment.names(":Subnet") == ["network-public-us-west-1b", "network-public-us-west-1c"]


def test_a_vpc_of_its_own_without_nat_gateways_is_public_with_dns() -> None:
    deployment = _deployed(vpc="own", availability_zones=2, nat_gateways="none")
    vpc = deployment.one(":Vpc").inputs
    assert vpc["enableDnsSupport"] and vpc["enableDnsHostnames"]
    assert deployment.names(":Subnet") == ["network-public-eu-west-1a", "network-public-eu-west-1b"]
    assert deployment.outputs["tasks"] == deployment.outputs["public"]
    assert deployment.outputs["assign"] is True
    assert not deployment.all(":NatGateway")


def test_a_single_nat_gateway_serves_all_private_subnets() -> None:
    deployment = _deployed(vpc="own", availability_zones=3, nat_gateways="single")
    assert deployment.names(":NatGateway") == ["network-nat-eu-west-1a"]
    routes = [route.inputs for route in deployment.all(":Route")]
    assert [route["natGatewayId"] for route in routes if "natGatewayId" in route] == ["network-nat-eu-west-1a-id"] * 3
    assert deployment.outputs["assign"] is False
    assert deployment.outputs["tasks"] != deployment.outputs["public"]


def test_with_a_nat_gateway_in_each_zone_no_zone_needs_another() -> None:
    deployment = _deployed(vpc="own", availability_zones=3, nat_gateways="per-az")
    gateways = {gateway.name: gateway.inputs["subnetId"] for gateway in deployment.all(":NatGateway")}
    for zone in ("eu-west-1a", "eu-west-1b", "eu-west-1c"):
        route = deployment.one(":Route", f"network-private-{zone}-way-out").inputs
        assert route["natGatewayId"] == f"network-nat-{zone}-id"
        assert gateways[f"network-nat-{zone}"] == f"network-public-{zone}-id"


def test_nothing_starts_in_a_subnet_before_it_has_a_way_out() -> None:
    deployment = _deployed(vpc="own", availability_zones=2, nat_gateways="single")
    for association in deployment.all(":RouteTableAssociation"):
        table = association.name.removesuffix("-association")
        route = "network-public" if "public" in table else table
        assert f"aws:ec2/route:Route::{route}-way-out" in association.depends_on


def test_s3_is_reached_through_a_gateway_endpoint_from_every_table() -> None:
    deployment = _deployed(vpc="own", availability_zones=2, nat_gateways="per-az")
    endpoint = deployment.one(":VpcEndpoint").inputs
    assert endpoint["serviceName"] == "com.amazonaws.eu-west-1.s3"
    assert len(endpoint["routeTableIds"]) == len(deployment.all(":RouteTable")) == 3


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "172.16.4.0/23"])
def test_subnets_are_apart_inside_the_vpc_large_enough_and_stay_when_a_zone_is_added(cidr: str) -> None:
    def blocks(zones: int) -> dict[str, ipaddress.IPv4Network]:
        deployment = _deployed(vpc="own", availability_zones=zones, cidr_block=cidr, nat_gateways="single")
        return {subnet.name: ipaddress.IPv4Network(subnet.inputs["cidrBlock"]) for subnet in deployment.all(":Subnet")}

    two, three = blocks(2), blocks(3)
    assert two.items() <= three.items()
    assert all(block.subnet_of(ipaddress.IPv4Network(cidr)) and block.prefixlen <= 27 for block in three.values())
    chosen = list(three.values())
    assert not [(one, other) for one in chosen for other in chosen if one is not other and one.overlaps(other)]
