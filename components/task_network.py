"""Where tasks run and what they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypedDict

import pulumi
import pulumi_aws as aws

from components.arguments import checked
from components.component import Children, Component, Options
from components.names import Name, name_tag
from components.network import Network
from components.overrides import Overrides
from components.uses import AnyUse, Reach, check_uses


class Placement(TypedDict):
    """The arguments that a service's and a schedule's network configuration have in common."""

    subnets: list[pulumi.Input[str]]
    security_groups: list[pulumi.Input[str]]
    assign_public_ip: bool


class TaskNetwork(Component):
    """The security group of a workload's tasks, and the rules for what its uses reach.

    The group is created empty and every rule is a resource of its own, so that two groups can name each other. Nothing
    comes in unless the workload adds a rule. Out goes HTTPS, for AWS's APIs and the image, and what the uses say.
    """

    children: ClassVar[Children] = {
        "tasks": "aws:ec2/securityGroup:SecurityGroup",
        "tasks-into-*": "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "tasks-to-*": "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        network: Network,
        uses: Sequence[AnyUse],
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        check_uses(f"TaskNetwork {name!r}", uses, vpc_id=network.vpc_id)
        super().__init__(name, overrides=overrides, opts=opts)
        self.security_group = aws.ec2.SecurityGroup(
            f"{name}-tasks",
            # Neither the description nor the name of a group can change: another one would replace a group in use.
            description="Tasks",
            vpc_id=network.vpc_id,
            tags=name_tag(f"{name}-tasks"),
            opts=self.options(),
        )
        # The provider removes AWS's rule that lets everything out. DNS needs none: security groups don't filter the
        # VPC's own resolver. https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html
        https = aws.vpc.SecurityGroupEgressRule(
            f"{name}-tasks-to-https",
            security_group_id=self.security_group.id,
            description="AWS APIs, image and logs",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4="0.0.0.0/0",
            opts=self.options(),
        )
        reaches = {reach.name: reach for use in uses for reach in use.reaches}
        self.rules: tuple[pulumi.Resource, ...] = (
            https,
            *(rule for reach in reaches.values() for rule in self._connect(reach)),
        )
        self.placement = Placement(
            subnets=list(network.task_subnets.values()),
            security_groups=[self.security_group.id],
            assign_public_ip=network.assign_public_ip,
        )
        self.finish({"security_group_id": self.security_group.id})

    def _connect(self, reach: Reach) -> tuple[pulumi.Resource, ...]:
        return (
            aws.vpc.SecurityGroupEgressRule(
                f"{self.name}-tasks-to-{reach.name}",
                security_group_id=self.security_group.id,
                description=f"Tasks to {reach.name}",
                ip_protocol="tcp",
                from_port=reach.port,
                to_port=reach.port,
                referenced_security_group_id=reach.security_group_id,
                opts=self.options(),
            ),
            aws.vpc.SecurityGroupIngressRule(
                f"{self.name}-tasks-into-{reach.name}",
                security_group_id=reach.security_group_id,
                description=f"From the tasks of {self.name}",
                ip_protocol="tcp",
                from_port=reach.port,
                to_port=reach.port,
                referenced_security_group_id=self.security_group.id,
                opts=self.options(),
            ),
        )
