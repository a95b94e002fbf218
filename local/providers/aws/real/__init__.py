"""Resource types that are created for real in the embedded AWS.

Each class brings what it stands for to what its inputs say (`put`), whatever was there before: creating, updating and
putting back after a restart are the same step.
"""

from __future__ import annotations

from collections.abc import Mapping

from local.providers.aws.real import dynamodb, iam, logs, s3, sns, sqs, ssm
from local.providers.aws.real.base import CLOUD_ENDPOINT_VARIABLE, Clients, Real

__all__ = ["CLOUD_ENDPOINT_VARIABLE", "REAL", "Clients", "Real"]

REAL: Mapping[str, type[Real]] = {
    "aws:s3/bucket:Bucket": s3.Bucket,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": s3.BucketPublicAccessBlock,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": s3.BucketOwnershipControls,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": s3.BucketEncryption,
    "aws:s3/bucketVersioning:BucketVersioning": s3.BucketVersioning,
    "aws:s3/bucketPolicy:BucketPolicy": s3.BucketPolicy,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": s3.BucketLifecycle,
    "aws:sqs/queue:Queue": sqs.Queue,
    "aws:sqs/queuePolicy:QueuePolicy": sqs.QueuePolicy,
    "aws:sqs/redrivePolicy:RedrivePolicy": sqs.RedrivePolicy,
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": sqs.RedriveAllowPolicy,
    "aws:ssm/parameter:Parameter": ssm.Parameter,
    "aws:iam/role:Role": iam.Role,
    "aws:iam/rolePolicy:RolePolicy": iam.RolePolicy,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": iam.RolePolicyAttachment,
    "aws:iam/policy:Policy": iam.Policy,
    "aws:cloudwatch/logGroup:LogGroup": logs.LogGroup,
    "aws:sns/topic:Topic": sns.Topic,
    "aws:sns/topicSubscription:TopicSubscription": sns.TopicSubscription,
    "aws:dynamodb/table:Table": dynamodb.Table,
}
