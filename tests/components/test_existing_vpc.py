from __future__ import annotations

import pytest

from components import ArgumentError
from components.component import Component
from components.existing_vpc import FoundSubnets, find_subnets
from tests.components import cloud, vpcs
from tests.components.deployment import deploy
from tests.components.vpcs import Subnet, Vpc, private, public

ID = "vpc-0a1b2c3d4e5f60718"


def _find(vpc: str, zones: list[str] = cloud.ZONES) -> FoundSubnets:
    found: list[FoundSubnets] = []
    deploy(lambda: found.append(find_subnets(Component("network"), vpc, zones)))
    return found[0]


def _find_in(monkeypatch: pytest.MonkeyPatch, **subnets: Subnet) -> FoundSubnets:
    monkeypatch.setattr(vpcs, "EXTRA", [Vpc(ID, "mine", subnets)])
    return _find("mine")


def test_a_subnet_is_public_when_its_default_route_leads_to_an_internet_gateway() -> None:
    found = _find("shared")
    assert found.public == {zone: f"subnet-public-{zone}" for zone in cloud.ZONES}
    assert found.private == {zone: f"subnet-private-{zone}" for zone in cloud.ZONES}


def test_every_subnet_of_the_default_vpc_is_public() -> None:
    found = _find("default")
    assert found.public == {zone: f"subnet-public-{zone}" for zone in cloud.ZONES}
    assert found.private == {}


def test_subnets_of_other_zones_stay_out() -> None:
    assert list(_find("default", ["eu-west-1b"]).public) == ["eu-west-1b"]


def test_a_subnet_without_a_route_table_of_its_own_uses_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    main = Vpc(ID, "mine", {"a": Subnet("eu-west-1a")}, main={"0.0.0.0/0": vpcs.NAT})
    monkeypatch.setattr(vpcs, "EXTRA", [main])
    assert _find("mine").private == {"eu-west-1a": "a"}


def test_of_several_subnets_in_a_zone_the_largest_is_taken_then_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = "eu-west-1a"
    found = _find_in(
        monkeypatch,
        a=private(zone, cidr="10.1.0.0/28"),
        b=private(zone, cidr="10.2.0.0/24"),
        c=private(zone, cidr="10.3.0.0/24"),
        d=public(zone, cidr="10.4.0.0/26"),
        e=public(zone, cidr="10.5.0.0/24"),
    )
    assert (found.private, found.public) == ({zone: "b"}, {zone: "e"})


def test_a_public_subnet_too_small_for_a_load_balancer_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _find_in(
        monkeypatch, a=public("eu-west-1a", cidr="10.1.0.0/28"), b=public("eu-west-1b", cidr="10.2.0.0/27")
    )
    assert found.public == {"eu-west-1b": "b"}


def test_subnets_on_outposts_and_of_ipv6_alone_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    outpost = "arn:aws:outposts:eu-west-1:123456789012:outpost/op-1"
    found = _find_in(monkeypatch, a=private("eu-west-1a", outpost=outpost), b=private("eu-west-1b", cidr=""))
    assert found.private == {}


def test_a_vpc_is_found_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another one that bears the id as its name is not meant.
    monkeypatch.setattr(vpcs, "EXTRA", [Vpc(ID, "mine", {}), Vpc("vpc-1a2b3c4d", ID, {})])
    assert _find(ID).vpc_id == ID
    assert _find("vpc-1a2b3c4d").vpc_id == "vpc-1a2b3c4d"


@pytest.mark.parametrize("vpc", ["missing", "vpc-0abc", "vpc-00000000000000000", "twice"])
def test_a_vpc_that_is_not_the_only_one_is_an_error_that_says_what_can_be_named(
    vpc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vpcs, "EXTRA", [Vpc(ID, "twice", {}), Vpc("vpc-1a2b3c4d", "twice", {})])
    with pytest.raises(ArgumentError, match="the id or the Name tag of exactly one VPC") as caught:
        _find(vpc)
    assert [mistake.name for mistake in caught.value.mistakes] == ["vpc"]
    assert "Network 'network'" in str(caught.value)


def test_an_account_without_a_default_vpc_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpcs, "default_vpc", lambda: Vpc("vpc-1a2b3c4d", "", {}))
    with pytest.raises(ArgumentError, match="'default', found 0 times"):
        _find("default")
