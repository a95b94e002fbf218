"""A private S3 bucket."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pulumi
import pulumi_aws as aws

from components.arguments import Between, Matching, check_call, checked
from components.component import Children, Component, Options
from components.iam import Statement, document
from components.names import Name, environment_name
from components.overrides import Overrides
from components.uses import Use

_S3 = aws.s3

Prefix = Annotated[
    str,
    Matching(
        r"[^/*?$][^*?$]*/",
        "a key prefix that ends with a slash, does not begin with one and has none of *, ? and $",
        "write it as 'emails/'; everything below it is meant",
    ),
]
"""The beginning of an object's key."""


class Bucket(Component):
    """A bucket that no public access reaches: encrypted, versioned, without ACLs, over TLS only.

    `protected` (production) refuses to delete the bucket; otherwise deleting the stack deletes its objects too.
    `noncurrent_days` is how long overwritten and deleted versions are kept.
    """

    children: ClassVar[Children] = {
        "bucket": "aws:s3/bucket:Bucket",
        "encryption": "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "lifecycle": "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "ownership": "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "policy": "aws:s3/bucketPolicy:BucketPolicy",
        "public-access": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "versioning": "aws:s3/bucketVersioning:BucketVersioning",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        protected: bool,
        noncurrent_days: Annotated[int, Between(1, 2_147_483_647)] = 30,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        self.bucket = _S3.Bucket(name, force_destroy=not protected, opts=self.options(protect=protected or None))
        self.arn = self.bucket.arn
        self.bucket_name = self.bucket.bucket
        self._parts = (*self._keep_private(), *self._keep_contents(noncurrent_days))
        self.finish({"bucket_name": self.bucket_name})

    def writing(self, prefix: Prefix) -> Use:
        """The use of a writer of the keys below `prefix` (as `emails/`). Environment: `<NAME>_BUCKET`,
        `<NAME>_PREFIX`."""
        check_call(f"Bucket {self.name!r}", self.writing, prefix=prefix)
        return self._use("PREFIX", prefix, Statement(actions=("s3:PutObject",), resources=(self._objects(prefix),)))

    def reading(self, prefix: Prefix) -> Use:
        """The use of a reader of the keys below `prefix`. Environment: `<NAME>_BUCKET`, `<NAME>_READ_PREFIX`: a workload
        may read below one prefix and write below another."""
        check_call(f"Bucket {self.name!r}", self.reading, prefix=prefix)
        # s3:ListBucket turns the answer for a missing key from 403 into 404, and lists no more than the prefix.
        return self._use(
            "READ_PREFIX",
            prefix,
            Statement(actions=("s3:GetObject",), resources=(self._objects(prefix),)),
            Statement(
                actions=("s3:ListBucket",),
                resources=(self.arn,),
                conditions={"StringLike": {"s3:prefix": f"{prefix}*"}},
            ),
        )

    def _objects(self, prefix: str) -> pulumi.Output[str]:
        return pulumi.Output.concat(self.arn, "/", prefix, "*")

    def _use(self, variable: str, prefix: str, *statements: Statement) -> Use:
        return Use(
            source=self.name,
            statements=statements,
            environment={
                environment_name(self.name, "BUCKET"): self.bucket_name,
                environment_name(self.name, variable): prefix,
            },
            depends_on=(self.bucket, *self._parts),
        )

    def _keep_private(self) -> tuple[pulumi.Resource, ...]:
        public_access = _S3.BucketPublicAccessBlock(
            f"{self.name}-public-access",
            bucket=self.bucket_name,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.options(),
        )
        ownership = _S3.BucketOwnershipControls(
            f"{self.name}-ownership",
            bucket=self.bucket_name,
            rule=_S3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=self.options(),
        )
        policy = _S3.BucketPolicy(
            f"{self.name}-policy",
            bucket=self.bucket_name,
            policy=document(
                [
                    {
                        "Sid": "OnlyTls",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [self.arn, pulumi.Output.concat(self.arn, "/*")],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ]
            ),
            # S3 answers 409 OperationAborted when the policy and the public access block are put at once.
            opts=self.options(depends_on=[public_access]),
        )
        return public_access, ownership, policy

    def _keep_contents(self, noncurrent_days: int) -> tuple[pulumi.Resource, ...]:
        encryption = _S3.BucketServerSideEncryptionConfiguration(
            f"{self.name}-encryption",
            bucket=self.bucket_name,
            rules=[
                _S3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=(
                        _S3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                            sse_algorithm="AES256"
                        )
                    ),
                    bucket_key_enabled=False,
                )
            ],
            opts=self.options(),
        )
        versioning = _S3.BucketVersioning(
            f"{self.name}-versioning",
            bucket=self.bucket_name,
            versioning_configuration=_S3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=self.options(),
        )
        lifecycle = _S3.BucketLifecycleConfiguration(
            f"{self.name}-lifecycle",
            bucket=self.bucket_name,
            rules=[
                _S3.BucketLifecycleConfigurationRuleArgs(
                    id="abort-incomplete-uploads",
                    status="Enabled",
                    filter=_S3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    abort_incomplete_multipart_upload=(
                        _S3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(days_after_initiation=7)
                    ),
                ),
                _S3.BucketLifecycleConfigurationRuleArgs(
                    id="expire-noncurrent-versions",
                    status="Enabled",
                    filter=_S3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    noncurrent_version_expiration=_S3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=noncurrent_days
                    ),
                ),
            ],
            # Rules on noncurrent versions need versioning to be on.
            opts=self.options(depends_on=[versioning]),
        )
        return encryption, versioning, lifecycle
