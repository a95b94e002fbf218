"""The availability zones that run Fargate tasks."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

ONLY: Mapping[str, frozenset[str]] = {
    "apne1": frozenset({"apne1-az1", "apne1-az2", "apne1-az4"}),
    "cnn1": frozenset({"cnn1-az1", "cnn1-az2"}),
    "usw1": frozenset({"usw1-az1", "usw1-az3"}),
}
"""The zone ids with Fargate for Linux, of each region where not all zones have it: Tokyo, Beijing and N. California.

By id, because a zone's name stands for another zone in each account. As of November 2026:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AWS_Fargate-Regions.html#linux-regions"""


def fargate_zones(parent: pulumi.Resource) -> list[str]:
    """The names, sorted, of the zones of the region that `parent` is in that are up and run Fargate tasks."""
    found = aws.get_availability_zones(
        state="available",
        # Availability zones always have this status. Local and Wavelength zones, which have neither EFS nor Fargate,
        # never do. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AvailabilityZone.html
        filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
        opts=pulumi.InvokeOptions(parent=parent),
    )
    # Names and ids come in one order (hashicorp/terraform-provider-aws, ec2_availability_zones_data_source.go). The
    # look-up itself takes zones to leave out (`exclude_zone_ids`), but AWS lists those that have Fargate: a zone that
    # the table does not know must stay out as well.
    return sorted(name for name, zone_id in zip(found.names, found.zone_ids, strict=True) if has_fargate(zone_id))


def has_fargate(zone_id: str) -> bool:
    """Whether the zone with this id, as in `apne1-az4`, runs Fargate tasks."""
    only = ONLY.get(zone_id.partition("-")[0])
    return only is None or zone_id in only
