"""The network that the stack runs in: the account's default VPC, one that exists, or one of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import pulumi
import pulumi_aws as aws

from components.address_block import AddressBlock
from components.arguments import Between, Matching, checked
from components.component import Children, Component, Options
from components.errors import ArgumentError, Mistake, raise_mistakes
from components.existing_vpc import find_subnets
from components.fargate_zones import fargate_zones
from components.names import Name, name_tag
from components.overrides import Overrides
from components.place import Place

_BLOCKS = 16
"""Subnets that a VPC is cut into: 8 public and 8 private ones, so that adding a zone moves no other zone's
addresses."""

MAX_ZONES = _BLOCKS // 2
FEWEST_ZONES = 2
VpcChoice = Annotated[
    str, Matching(r"\S(.*\S)?", "default, own, or the id or the Name tag of a VPC that exists", "name one of these")
]
Zones = Annotated[
    int, Between(FEWEST_ZONES, MAX_ZONES, f"a load balancer needs two, a VPC of its own has addresses for {MAX_ZONES}")
]
NatGateways = Literal["none", "single", "per-az"]
CIDR_BLOCK = "10.0.0.0/16"
NAT_GATEWAYS: NatGateways = "none"


def shape_mistake(vpc: str, name: str, value: str, default: str) -> Mistake | None:
    """What is wrong with shaping a VPC that exists: the argument or key `name` is for a VPC of its own alone."""
    if vpc == "own" or value == default:
        return None
    return Mistake(
        name=name,
        value=f"{value!r} with the VPC {vpc!r}",
        allowed=f"{default!r}: a VPC that exists keeps its shape",
        remedy=f"leave {name} out, or choose 'own' as the VPC",
    )


class Network(Component):
    """Where load balancers (`public_subnets`) and tasks (`task_subnets`) live, one subnet per availability zone.

    `vpc` is `default` (the account's default VPC), `own` (a VPC of this stack's own), or the id or the `Name` tag of a
    VPC that exists. Of a VPC that exists nothing is changed: its first `availability_zones` zones are used that run
    Fargate tasks and have both a public subnet, for load balancers, and a private one, for tasks. The default VPC has
    public subnets alone: there tasks have public addresses, which nothing reaches through their security groups.

    `cidr_block` (private, /16 to /23) and `nat_gateways` shape a VPC of its own, and are refused for others. With NAT
    gateways (`single`: one for all zones, cheaper; `per-az`: one in each, so that losing a zone cuts nobody off) tasks
    run in private subnets. With `none` they run in the public subnets with public addresses, as in the default VPC.

    Subnets are keyed by the zone's name, which is known in a preview, so that whoever creates a resource per zone
    does so with plain names. Load balancers and tasks are always in the same zones.

    Raises ArgumentError for arguments that cannot work, before anything is registered or looked up; and when a VPC is
    not found or has too few zones, which only the look-ups tell, before any resource but the component itself is.
    """

    children: ClassVar[Children] = {
        "internet": "aws:ec2/internetGateway:InternetGateway",
        "nat-*-address": "aws:ec2/eip:Eip",
        "nat-*": "aws:ec2/natGateway:NatGateway",
        "p*-association": "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "p*-routes": "aws:ec2/routeTable:RouteTable",
        "p*-way-out": "aws:ec2/route:Route",
        "private-*": "aws:ec2/subnet:Subnet",
        "public-*": "aws:ec2/subnet:Subnet",
        "s3": "aws:ec2/vpcEndpoint:VpcEndpoint",
        "vpc": "aws:ec2/vpc:Vpc",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        vpc: VpcChoice,
        availability_zones: Zones,
        cidr_block: AddressBlock = CIDR_BLOCK,
        nat_gateways: NatGateways = NAT_GATEWAYS,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        shape = (("cidr_block", cidr_block, CIDR_BLOCK), ("nat_gateways", nat_gateways, NAT_GATEWAYS))
        mistakes = [mistake for argument in shape if (mistake := shape_mistake(vpc, *argument)) is not None]
        raise_mistakes(f"Network {name!r}", mistakes)
        super().__init__(name, overrides=overrides, opts=opts)
        zones = fargate_zones(self)
        self.vpc_id: pulumi.Input[str]
        self.public_subnets: Mapping[str, pulumi.Input[str]]
        self.task_subnets: Mapping[str, pulumi.Input[str]]
        self.assign_public_ip: bool
        if vpc == "own":
            self._check_zones(
                zones, availability_zones, "zones of the region that run Fargate tasks", "or choose another region"
            )
            self._create(zones[:availability_zones], ipaddress.IPv4Network(cidr_block), nat_gateways)
        else:
            self._find(vpc, zones, availability_zones)
        self.finish({"vpc_id": self.vpc_id})

    def _find(self, vpc: str, zones: Sequence[str], wanted: int) -> None:
        found = find_subnets(self, vpc, zones)
        self.vpc_id = found.vpc_id
        self.assign_public_ip = vpc == "default"
        tasks = found.public if self.assign_public_ip else found.private
        # Targets in a zone that the load balancer is not in never become healthy (`Target.NotInUse`).
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
        both = sorted(found.public.keys() & tasks.keys())
        if self.assign_public_ip:
            what = "with a default subnet"
            add = "create the missing default subnets"
        else:
            what = (
                f"with a public and a private subnet (public in {_listed(found.public)}; "
                f"private in {_listed(found.private)})"
            )
            add = (
                "add the missing subnets (public: /27 or larger; private: with a static route for 0.0.0.0/0), or "
                "choose 'default', where tasks have public addresses"
            )
        self._check_zones(both, wanted, f"zones of the VPC {vpc!r} {what}", f"{add}, or 'own' as the VPC")
        self.public_subnets = {zone: found.public[zone] for zone in both[:wanted]}
        self.task_subnets = {zone: tasks[zone] for zone in both[:wanted]}

    def _check_zones(self, zones: Sequence[str], wanted: int, what: str, remedy: str) -> None:
        if len(zones) < wanted:
            raise ArgumentError(
                f"Network {self.name!r}",
                Mistake(
                    name="availability_zones",
                    value=str(wanted),
                    allowed=f"at most {len(zones)} ({_listed(zones)}), the {what}",
                    remedy=remedy.removeprefix("or ") if wanted == FEWEST_ZONES else f"use fewer zones, {remedy}",
                ),
            )

    def _create(self, zones: Sequence[str], cidr: ipaddress.IPv4Network, nat_gateways: NatGateways) -> None:
        vpc = aws.ec2.Vpc(
            f"{self.name}-vpc",
            cidr_block=str(cidr),
            # Tasks find their EFS mount targets by DNS.
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=name_tag(self.name),
            opts=self.options(),
        )
        self.vpc_id = vpc.id
        internet = aws.ec2.InternetGateway(
            f"{self.name}-internet", vpc_id=vpc.id, tags=name_tag(self.name), opts=self.options()
        )
        blocks = list(cidr.subnets(prefixlen_diff=4))
        public_table = self._route_table("public", vpc)
        way_out = self._default_route("public", public_table, gateway_id=internet.id)
        self.public_subnets = {
            zone: self._subnet(f"public-{zone}", vpc, zone, blocks[index], public_table, way_out)
            for index, zone in enumerate(zones)
        }
        tables = [public_table]
        self.assign_public_ip = nat_gateways == "none"
        if self.assign_public_ip:
            self.task_subnets = self.public_subnets
        else:
            gateways = {
                zone: self._nat_gateway(zone, self.public_subnets[zone], internet)
                for zone in (zones if nat_gateways == "per-az" else zones[:1])
            }
            private = {}
            for index, zone in enumerate(zones):
                table = self._route_table(f"private-{zone}", vpc)
                gateway = gateways.get(zone) or gateways[zones[0]]
                way_out = self._default_route(f"private-{zone}", table, nat_gateway_id=gateway.id)
                private[zone] = self._subnet(f"private-{zone}", vpc, zone, blocks[MAX_ZONES + index], table, way_out)
                tables.append(table)
            self.task_subnets = private
        self._s3_endpoint(vpc, tables)

    def _subnet(
        self,
        what: str,
        vpc: aws.ec2.Vpc,
        zone: str,
        block: ipaddress.IPv4Network,
        table: aws.ec2.RouteTable,
        way_out: aws.ec2.Route,
    ) -> pulumi.Output[str]:
        subnet = aws.ec2.Subnet(
            f"{self.name}-{what}",
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=str(block),
            tags=name_tag(f"{self.name}-{what}"),
            opts=self.options(),
        )
        association = aws.ec2.RouteTableAssociation(
            f"{self.name}-{what}-association",
            subnet_id=subnet.id,
            route_table_id=table.id,
            opts=self.options(depends_on=[way_out]),
        )
        # Read from the association, so that nothing starts in a subnet that has no way out yet: a load balancer would
        # be refused, a task could not pull its image.
        return association.subnet_id.apply(str)

    def _route_table(self, what: str, vpc: aws.ec2.Vpc) -> aws.ec2.RouteTable:
        return aws.ec2.RouteTable(
            f"{self.name}-{what}-routes", vpc_id=vpc.id, tags=name_tag(f"{self.name}-{what}"), opts=self.options()
        )

    def _default_route(
        self,
        what: str,
        table: aws.ec2.RouteTable,
        *,
        gateway_id: pulumi.Input[str] | None = None,
        nat_gateway_id: pulumi.Input[str] | None = None,
    ) -> aws.ec2.Route:
        return aws.ec2.Route(
            f"{self.name}-{what}-way-out",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway_id,
            nat_gateway_id=nat_gateway_id,
            opts=self.options(),
        )

    def _nat_gateway(
        self, zone: str, subnet: pulumi.Input[str], internet: aws.ec2.InternetGateway
    ) -> aws.ec2.NatGateway:
        tags = name_tag(f"{self.name}-nat-{zone}")
        address = aws.ec2.Eip(f"{self.name}-nat-{zone}-address", domain="vpc", tags=tags, opts=self.options())
        return aws.ec2.NatGateway(
            f"{self.name}-nat-{zone}",
            allocation_id=address.allocation_id,
            subnet_id=subnet,
            tags=tags,
            opts=self.options(depends_on=[internet]),
        )

    def _s3_endpoint(self, vpc: aws.ec2.Vpc, tables: Sequence[aws.ec2.RouteTable]) -> None:
        # Image layers and objects come from S3: through a gateway endpoint they cost no NAT traffic, and it is free.
        aws.ec2.VpcEndpoint(
            f"{self.name}-s3",
            vpc_id=vpc.id,
            vpc_endpoint_type="Gateway",
            service_name=pulumi.Output.concat("com.amazonaws.", Place.of(self).region, ".s3"),
            route_table_ids=[table.id for table in tables],
            tags=name_tag(f"{self.name}-s3"),
            opts=self.options(),
        )


def _listed(zones: Iterable[str]) -> str:
    return ", ".join(sorted(zones)) or "none"
