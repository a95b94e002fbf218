"""Where the stack is deployed, asked of the provider, so that no partition, region or account is ever written down."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


@dataclass(frozen=True)
class Place:
    """The provider's partition (`aws`, `aws-cn`, ...), region and account."""

    partition: pulumi.Output[str]
    region: pulumi.Output[str]
    account: pulumi.Output[str]

    @classmethod
    def of(cls, parent: pulumi.Resource) -> Place:
        """Asks the provider that `parent`'s children use."""
        options = pulumi.InvokeOptions(parent=parent)
        return cls(
            partition=aws.get_partition_output(opts=options).partition,
            region=aws.get_region_output(opts=options).region,
            account=aws.get_caller_identity_output(opts=options).account_id,
        )

    def arn(self, service: str, resource: pulumi.Input[str]) -> pulumi.Output[str]:
        """The ARN of one of this account's resources in this region."""
        return pulumi.Output.concat(
            "arn:", self.partition, ":", service, ":", self.region, ":", self.account, ":", resource
        )
