"""S3: buckets and their configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.providers.aws.real.base import Real, same_document
from local.providers.kind import AutoName, Created, Properties


class Bucket(Real):
    # Bucket names are global, lower case, 3 to 63 characters.
    auto_name = AutoName("bucket", longest=63, lower=True, prefix_property="bucketPrefix")
    replaces = frozenset({"bucket", "bucketPrefix", "objectLockEnabled"})
    outputs = frozenset({"arn", "bucketDomainName", "bucketRegionalDomainName", "bucketRegion", "hostedZoneId"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return str(inputs["bucket"])

    def put(self, inputs: Properties) -> Created:
        name = self.identify(inputs)
        if not self.exists(name, inputs):
            where = {} if self.place.region == "us-east-1" else {"LocationConstraint": self.place.region}
            self.clients["s3"].create_bucket(Bucket=name, **({"CreateBucketConfiguration": where} if where else {}))
        suffix = self.place.dns_suffix
        return Created(
            name,
            {
                "arn": f"arn:{self.place.partition}:s3:::{name}",
                "bucketDomainName": f"{name}.s3.{suffix}",
                "bucketRegionalDomainName": f"{name}.s3.{self.place.region}.{suffix}",
                "bucketRegion": self.place.region,
                "hostedZoneId": "Z3AQBSTGFYJSTF",
            },
        )

    def remove(self, resource_id: str, state: Properties) -> None:
        s3 = self.clients["s3"]
        if state.get("forceDestroy"):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=resource_id):
                for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
                    s3.delete_object(Bucket=resource_id, Key=version["Key"], VersionId=version["VersionId"])
        s3.delete_bucket(Bucket=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["s3"].head_bucket(Bucket=resource_id)


class _OfBucket(Real):
    """A configuration of a bucket: one call to put it, one to delete it, one to read it."""

    replaces = frozenset({"bucket"})
    operation = ""
    deletes = True

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        """The arguments of the put call beside the bucket."""
        raise NotImplementedError

    def identify(self, inputs: Properties) -> str:
        return str(inputs["bucket"])

    def put(self, inputs: Properties) -> Created:
        getattr(self.clients["s3"], f"put_{self.operation}")(Bucket=inputs["bucket"], **self.call(inputs))
        return Created(str(inputs["bucket"]))

    def remove(self, resource_id: str, state: Properties) -> None:
        if self.deletes:
            name = "delete_bucket_lifecycle" if "lifecycle" in self.operation else f"delete_{self.operation}"
            getattr(self.clients["s3"], name)(Bucket=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return getattr(self.clients["s3"], f"get_{self.operation}")(Bucket=resource_id)


class BucketPublicAccessBlock(_OfBucket):
    operation = "public_access_block"

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        names = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        return {
            "PublicAccessBlockConfiguration": {name[0].upper() + name[1:]: inputs.get(name, False) for name in names}
        }


class BucketOwnershipControls(_OfBucket):
    operation = "bucket_ownership_controls"

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        return {"OwnershipControls": {"Rules": [{"ObjectOwnership": inputs["rule"]["objectOwnership"]}]}}


class BucketEncryption(_OfBucket):
    operation = "bucket_encryption"

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        rules = []
        for rule in inputs["rules"]:
            default = rule.get("applyServerSideEncryptionByDefault") or {"sseAlgorithm": "AES256"}
            applied = {"SSEAlgorithm": default["sseAlgorithm"]}
            if default.get("kmsMasterKeyId"):
                applied["KMSMasterKeyID"] = default["kmsMasterKeyId"]
            rules.append(
                {
                    "ApplyServerSideEncryptionByDefault": applied,
                    "BucketKeyEnabled": bool(rule.get("bucketKeyEnabled", False)),
                }
            )
        return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


class BucketVersioning(_OfBucket):
    operation = "bucket_versioning"
    deletes = False

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        return {"VersioningConfiguration": {"Status": inputs["versioningConfiguration"]["status"]}}


class BucketPolicy(_OfBucket):
    operation = "bucket_policy"

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        return {"Policy": inputs["policy"]}

    def found(self, answer: Any, state: Properties) -> Properties:
        return {"policy": same_document(state.get("policy"), answer["Policy"])}


class BucketLifecycle(_OfBucket):
    """Kept as the program says it: nothing on one machine grows old enough for the rules to act."""

    operation = "bucket_lifecycle_configuration"

    def call(self, inputs: Properties) -> Mapping[str, Any]:
        return {"LifecycleConfiguration": {"Rules": [_lifecycle_rule(rule) for rule in inputs["rules"]]}}


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    scope = rule.get("filter") or {}
    made: dict[str, Any] = {
        "ID": rule["id"],
        "Status": rule["status"],
        "Filter": {"Prefix": scope.get("prefix") or rule.get("prefix") or ""},
    }
    if "abortIncompleteMultipartUpload" in rule:
        days = rule["abortIncompleteMultipartUpload"]["daysAfterInitiation"]
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    if "expiration" in rule and "days" in rule["expiration"]:
        made["Expiration"] = {"Days": rule["expiration"]["days"]}
    if "noncurrentVersionExpiration" in rule:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["noncurrentVersionExpiration"]["noncurrentDays"]}
    return made
