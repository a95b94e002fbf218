"""Names: one place that knows how long a physical name may become.

Pulumi names a physical resource after its logical name plus a hyphen and seven hexadecimal digits. Children are called
`<component>-<what>`, so the budget of a component's name follows from the tightest of its children.
"""

from __future__ import annotations

import re
from typing import Annotated

import pulumi

from components.arguments import Valid

SUFFIX_LENGTH = 8
"""Pulumi's random suffix: a hyphen and seven hexadecimal digits."""

PHYSICAL_LIMITS = {
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
    "aws:lb/loadBalancer:LoadBalancer": 32,
    "aws:lb/targetGroup:TargetGroup": 32,
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    "aws:iam/role:Role": 64,
    "aws:iam/rolePolicy:RolePolicy": 128,
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    "aws:s3/bucket:Bucket": 63,
    "aws:sqs/queue:Queue": 80,
    "aws:scheduler/schedule:Schedule": 64,
    "aws:ecs/cluster:Cluster": 255,
    "aws:ecs/service:Service": 255,
    "aws:ecr/repository:Repository": 256,
    "aws:ec2/securityGroup:SecurityGroup": 255,
    "aws:efs/fileSystem:FileSystem": 64,
    "aws:ssm/parameter:Parameter": 1011,
    "aws:appautoscaling/policy:Policy": 255,
    "aws:cloudwatch/metricAlarm:MetricAlarm": 255,
}
"""The longest physical name that AWS takes, by resource type, for the types that Pulumi names."""

NAME_LENGTH = 20
"""Longest component name: load balancers and target groups have 32 characters, less Pulumi's suffix and `-alb`."""

_NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")


def name_problem(name: str) -> str | None:
    """What is allowed in place of this name of a component, in words; None when it will do."""
    # S3 is the strictest about letters.
    if len(name) <= NAME_LENGTH and _NAME.fullmatch(name):
        return None
    return f"1 to {NAME_LENGTH} lower-case letters, digits and single hyphens, beginning with a letter"


Name = Annotated[
    str,
    Valid(
        name_problem,
        f"choose a shorter or plainer name; AWS allows {PHYSICAL_LIMITS['aws:lb/loadBalancer:LoadBalancer']} characters "
        f"for a load balancer, {SUFFIX_LENGTH} of which Pulumi uses",
    ),
]
"""The name of a component, which fits every physical name that is made from it."""


def environment_name(name: str, suffix: str = "") -> str:
    """The environment variable for a component: `api-token`, `PARAMETER` -> `API_TOKEN_PARAMETER`."""
    return "_".join(part for part in (name.upper().replace("-", "_"), suffix) if part)


def name_tag(name: str) -> dict[str, str]:
    """The `Name` tag that the AWS console shows where a resource has no name of its own."""
    return {"Name": f"{pulumi.get_project()}-{pulumi.get_stack()}-{name}"}
