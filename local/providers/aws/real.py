"""Resource types that are created for real in the embedded AWS.

Each class brings what it stands for to what its inputs say (`put`), whatever was there before: creating, updating and
putting back after a restart are the same step.
"""

from __future__ import annotations

import json
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud.principals import OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY
from local.providers.aws.place import Place
from local.providers.standin import AutoName, Created, Properties

CLOUD_ENDPOINT_VARIABLE = "LOCAL_CLOUD_ENDPOINT"
_MISSING = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "ParameterNotFound",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}


class Clients:
    """boto3 clients of the embedded AWS, signed by its operator; its endpoint comes from the environment if not given."""

    def __init__(self, place: Place, endpoint: str | None = None) -> None:
        self._place = place
        self._endpoint = endpoint
        self._clients: dict[str, Any] = {}
        # Sessions are not safe to make clients in from several threads at once; the clients are safe to use.
        self._lock = threading.Lock()

    def __getitem__(self, service: str) -> Any:
        endpoint = self._endpoint or os.environ.get(CLOUD_ENDPOINT_VARIABLE)
        if not endpoint:
            raise ValueError(
                f"no embedded AWS to create this in ({CLOUD_ENDPOINT_VARIABLE} is not set): this provider deploys the local "
                "stack only, by `make up`; every other stack it can preview"
            )
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"})
                )
            return self._clients[service]

    @cached_property
    def _session(self) -> Any:
        # Previews do without: importing boto3 is a third of this plugin's start.
        import boto3

        return boto3.session.Session(OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY, region_name=self._place.region)


class Real:
    """A `ResourceKind` in the embedded AWS."""

    auto_name: AutoName | None = None
    replaces: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    # Whether a new resource may not have the name of one that exists.
    exclusive = False

    def __init__(self, place: Place, clients: Clients) -> None:
        self.place = place
        self.clients = clients

    @cached_property
    def computed(self) -> frozenset[str]:
        return self.outputs | {"tagsAll", "region"}

    @abstractmethod
    def put(self, inputs: Properties) -> Created:
        """Makes it so, and returns the id and what is computed."""

    @abstractmethod
    def remove(self, resource_id: str, state: Properties) -> None:
        """Deletes it; may raise ClientError when it isn't there."""

    @abstractmethod
    def look(self, resource_id: str, state: Properties) -> object:
        """Reads it; raises ClientError when it isn't there, returns None for the same."""

    def create(self, name: str, inputs: Properties) -> Created:
        if self.exclusive:
            candidate = self.identify(inputs)
            if self.exists(candidate, inputs):
                raise ValueError(f"{candidate!r} exists already: choose another name")
        return self._with_tags(self.put(inputs), inputs)

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        return self._with_tags(self.put(inputs), inputs).computed

    def delete(self, resource_id: str, state: Properties) -> None:
        _ignoring_missing(lambda: self.remove(resource_id, state))

    def exists(self, resource_id: str, state: Properties) -> bool:
        return _ignoring_missing(lambda: self.look(resource_id, state)) is not None

    def identify(self, inputs: Properties) -> str:
        """The id that `put` would return, where it follows from the inputs."""
        return str(inputs["name"])

    def _with_tags(self, created: Created, inputs: Properties) -> Created:
        tags = dict(self.place.default_tags) | dict(inputs.get("tags") or {})
        return Created(created.id, {"region": self.place.region, "tagsAll": tags} | created.computed)


def _ignoring_missing(call: Callable[[], object]) -> object:
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"].rpartition("#")[2] in _MISSING:
            return None
        raise


def _tag_list(inputs: Properties) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (inputs.get("tags") or {}).items()]


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


class Queue(Real):
    # 80 characters, with the `.fifo` of a FIFO queue.
    auto_name = AutoName(longest=80)
    replaces = frozenset({"name", "namePrefix", "fifoQueue"})
    outputs = frozenset({"arn", "url"})
    exclusive = True
    _ATTRIBUTES: Mapping[str, str] = {
        "visibilityTimeoutSeconds": "VisibilityTimeout",
        "messageRetentionSeconds": "MessageRetentionPeriod",
        "maxMessageSize": "MaximumMessageSize",
        "delaySeconds": "DelaySeconds",
        "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
        "policy": "Policy",
        "redrivePolicy": "RedrivePolicy",
        "redriveAllowPolicy": "RedriveAllowPolicy",
        "kmsMasterKeyId": "KmsMasterKeyId",
        "sqsManagedSseEnabled": "SqsManagedSseEnabled",
        "contentBasedDeduplication": "ContentBasedDeduplication",
    }

    def identify(self, inputs: Properties) -> str:
        # AWS's own address, so that the state doesn't depend on the port of this machine's endpoint; SDKs and the embedded
        # AWS take the queue's name out of it.
        host = f"sqs.{self.place.region}.{self.place.dns_suffix}"
        return f"https://{host}/{self.place.account}/{inputs['name']}"

    def put(self, inputs: Properties) -> Created:
        sqs, name = self.clients["sqs"], str(inputs["name"])
        attributes = {
            attribute: _attribute(inputs[key])
            for key, attribute in self._ATTRIBUTES.items()
            if inputs.get(key) is not None
        }
        url = self.identify(inputs)
        if self.exists(url, inputs):
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        else:
            if inputs.get("fifoQueue"):
                attributes["FifoQueue"] = "true"
            sqs.create_queue(QueueName=name, Attributes=attributes, tags=inputs.get("tags") or {})
        return Created(url, {"url": url, "arn": self.place.arn("sqs", name)})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["sqs"].delete_queue(QueueUrl=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["sqs"].get_queue_url(QueueName=resource_id.rpartition("/")[2])


def _attribute(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _OfQueue(Real):
    replaces = frozenset({"queueUrl"})
    attribute = ""
    input = ""

    def put(self, inputs: Properties) -> Created:
        self._set(str(inputs["queueUrl"]), str(inputs[self.input]))
        return Created(str(inputs["queueUrl"]))

    def remove(self, resource_id: str, state: Properties) -> None:
        self._set(resource_id, "")

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["sqs"].get_queue_url(QueueName=resource_id.rpartition("/")[2])

    def _set(self, url: str, value: str) -> None:
        self.clients["sqs"].set_queue_attributes(QueueUrl=url, Attributes={self.attribute: value})


class QueuePolicy(_OfQueue):
    attribute, input = "Policy", "policy"


class RedrivePolicy(_OfQueue):
    attribute, input = "RedrivePolicy", "redrivePolicy"


class RedriveAllowPolicy(_OfQueue):
    attribute, input = "RedriveAllowPolicy", "redriveAllowPolicy"


class Parameter(Real):
    auto_name = AutoName(longest=1011)
    replaces = frozenset({"name"})
    outputs = frozenset({"arn", "version", "tier", "dataType", "hasValueWo"})
    exclusive = True

    def put(self, inputs: Properties) -> Created:
        return self._put(inputs, str(inputs["value"] if "value" in inputs else inputs["valueWo"]))

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        # The real provider sends a write-only value when its version changes, and leaves it alone otherwise.
        if "value" in inputs or inputs.get("valueWoVersion") != old.get("valueWoVersion"):
            return super().update(resource_id, old, inputs)
        return self._with_tags(Created(resource_id), inputs).computed

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["ssm"].delete_parameter(Name=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["ssm"].get_parameter(Name=resource_id)

    def _put(self, inputs: Properties, value: str) -> Created:
        name = str(inputs["name"])
        details = {"Description": inputs["description"]} if inputs.get("description") else {}
        if inputs.get("keyId"):
            details["KeyId"] = inputs["keyId"]
        answer = self.clients["ssm"].put_parameter(
            Name=name, Value=value, Type=inputs["type"], Overwrite=True, Tier=inputs.get("tier", "Standard"), **details
        )
        return Created(
            name,
            {
                "arn": self.place.arn("ssm", f"parameter/{name.lstrip('/')}"),
                "version": answer["Version"],
                "tier": inputs.get("tier", "Standard"),
                "dataType": inputs.get("dataType", "text"),
                "hasValueWo": "valueWo" in inputs,
            },
        )


class Role(Real):
    # 64 characters, and the names are one space for all regions of an account.
    auto_name = AutoName(longest=64)
    replaces = frozenset({"name", "namePrefix", "path"})
    outputs = frozenset({"arn", "uniqueId", "createDate", "path", "maxSessionDuration"})
    exclusive = True

    def put(self, inputs: Properties) -> Created:
        iam, name = self.clients["iam"], str(inputs["name"])
        policy = _json_text(inputs["assumeRolePolicy"])
        if self.exists(name, inputs):
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy)
            role = iam.get_role(RoleName=name)["Role"]
        else:
            boundary = (
                {"PermissionsBoundary": inputs["permissionsBoundary"]} if inputs.get("permissionsBoundary") else {}
            )
            role = iam.create_role(
                RoleName=name,
                Path=inputs.get("path", "/"),
                AssumeRolePolicyDocument=policy,
                Description=inputs.get("description", ""),
                Tags=_tag_list(inputs),
                **boundary,
            )["Role"]
        return Created(
            name,
            {
                "arn": role["Arn"],
                "uniqueId": role["RoleId"],
                "createDate": role["CreateDate"].isoformat(),
                "path": inputs.get("path", "/"),
                "maxSessionDuration": inputs.get("maxSessionDuration", 3600),
            },
        )

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["iam"].delete_role(RoleName=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["iam"].get_role(RoleName=resource_id)


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class RolePolicy(Real):
    auto_name = AutoName(longest=128)
    replaces = frozenset({"name", "namePrefix", "role"})

    def identify(self, inputs: Properties) -> str:
        return f"{inputs['role']}:{inputs['name']}"

    def put(self, inputs: Properties) -> Created:
        self.clients["iam"].put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=_json_text(inputs["policy"])
        )
        return Created(self.identify(inputs))

    def remove(self, resource_id: str, state: Properties) -> None:
        role, _, name = resource_id.partition(":")
        self.clients["iam"].delete_role_policy(RoleName=role, PolicyName=name)

    def look(self, resource_id: str, state: Properties) -> object:
        role, _, name = resource_id.partition(":")
        return self.clients["iam"].get_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(Real):
    replaces = frozenset({"role", "policyArn"})

    def identify(self, inputs: Properties) -> str:
        return f"{inputs['role']}/{inputs['policyArn']}"

    def put(self, inputs: Properties) -> Created:
        self.clients["iam"].attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return Created(self.identify(inputs))

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["iam"].detach_role_policy(RoleName=state["role"], PolicyArn=state["policyArn"])

    def look(self, resource_id: str, state: Properties) -> object:
        attached = self.clients["iam"].list_attached_role_policies(RoleName=state["role"])["AttachedPolicies"]
        return next((policy for policy in attached if policy["PolicyArn"] == state["policyArn"]), None)


class Policy(Real):
    auto_name = AutoName(longest=128)
    replaces = frozenset({"name", "namePrefix", "path", "description"})
    outputs = frozenset({"arn", "policyId", "attachmentCount", "path"})
    exclusive = True

    def identify(self, inputs: Properties) -> str:
        return self.place.arn("iam", f"policy{inputs.get('path', '/')}{inputs['name']}", region="")

    def put(self, inputs: Properties) -> Created:
        iam, arn, text = self.clients["iam"], self.identify(inputs), _json_text(inputs["policy"])
        if self.exists(arn, inputs):
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
        else:
            iam.create_policy(PolicyName=inputs["name"], Path=inputs.get("path", "/"), PolicyDocument=text)
        found = iam.get_policy(PolicyArn=arn)["Policy"]
        return Created(arn, {"arn": arn, "policyId": found["PolicyId"], "attachmentCount": 0, "path": found["Path"]})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["iam"].delete_policy(PolicyArn=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["iam"].get_policy(PolicyArn=resource_id)


class LogGroup(Real):
    auto_name = AutoName(longest=512)
    replaces = frozenset({"name", "namePrefix", "logGroupClass"})
    outputs = frozenset({"arn"})
    exclusive = True

    def put(self, inputs: Properties) -> Created:
        logs, name = self.clients["logs"], str(inputs["name"])
        if not self.exists(name, inputs):
            logs.create_log_group(logGroupName=name, tags=inputs.get("tags") or {})
        if inputs.get("retentionInDays"):
            logs.put_retention_policy(logGroupName=name, retentionInDays=inputs["retentionInDays"])
        else:
            logs.delete_retention_policy(logGroupName=name)
        return Created(name, {"arn": self.place.arn("logs", f"log-group:{name}")})

    def remove(self, resource_id: str, state: Properties) -> None:
        if not state.get("skipDestroy"):
            self.clients["logs"].delete_log_group(logGroupName=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        groups = self.clients["logs"].describe_log_groups(logGroupNamePrefix=resource_id)["logGroups"]
        return next((group for group in groups if group["logGroupName"] == resource_id), None)


class Topic(Real):
    auto_name = AutoName(longest=256)
    replaces = frozenset({"name", "namePrefix", "fifoTopic"})
    outputs = frozenset({"arn", "owner"})

    def put(self, inputs: Properties) -> Created:
        attributes = {"KmsMasterKeyId": inputs["kmsMasterKeyId"]} if inputs.get("kmsMasterKeyId") else {}
        arn = self.clients["sns"].create_topic(Name=inputs["name"], Attributes=attributes)["TopicArn"]
        return Created(arn, {"arn": arn, "owner": self.place.account})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["sns"].delete_topic(TopicArn=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["sns"].get_topic_attributes(TopicArn=resource_id)


class TopicSubscription(Real):
    replaces = frozenset({"topic", "protocol", "endpoint"})
    outputs = frozenset({"arn", "ownerId", "pendingConfirmation"})

    def put(self, inputs: Properties) -> Created:
        arn = self.clients["sns"].subscribe(
            TopicArn=inputs["topic"],
            Protocol=inputs["protocol"],
            Endpoint=inputs["endpoint"],
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        return Created(arn, {"arn": arn, "ownerId": self.place.account, "pendingConfirmation": False})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["sns"].unsubscribe(SubscriptionArn=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["sns"].get_subscription_attributes(SubscriptionArn=resource_id)


class Table(Real):
    auto_name = AutoName(longest=255)
    replaces = frozenset({"name", "hashKey", "rangeKey", "localSecondaryIndexes"})
    outputs = frozenset({"arn", "streamArn", "streamLabel"})
    exclusive = True

    def put(self, inputs: Properties) -> Created:
        dynamodb, name = self.clients["dynamodb"], str(inputs["name"])
        if not self.exists(name, inputs):
            dynamodb.create_table(**_table_call(inputs))
        ttl = inputs.get("ttl") or {}
        if ttl.get("attributeName"):
            specification = {"Enabled": bool(ttl.get("enabled", True)), "AttributeName": ttl["attributeName"]}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
        return Created(name, {"arn": self.place.arn("dynamodb", f"table/{name}"), "streamArn": "", "streamLabel": ""})

    def remove(self, resource_id: str, state: Properties) -> None:
        self.clients["dynamodb"].delete_table(TableName=resource_id)

    def look(self, resource_id: str, state: Properties) -> object:
        return self.clients["dynamodb"].describe_table(TableName=resource_id)


def _table_call(inputs: Properties) -> dict[str, Any]:
    keys = [{"AttributeName": inputs["hashKey"], "KeyType": "HASH"}]
    if inputs.get("rangeKey"):
        keys.append({"AttributeName": inputs["rangeKey"], "KeyType": "RANGE"})
    call: dict[str, Any] = {
        "TableName": inputs["name"],
        "KeySchema": keys,
        "AttributeDefinitions": [
            {"AttributeName": a["name"], "AttributeType": a["type"]} for a in inputs["attributes"]
        ],
        # Capacity is nothing that one machine could show.
        "BillingMode": "PAY_PER_REQUEST",
    }
    indexes = []
    for index in inputs.get("globalSecondaryIndexes") or []:
        schema = [{"AttributeName": index["hashKey"], "KeyType": "HASH"}]
        if index.get("rangeKey"):
            schema.append({"AttributeName": index["rangeKey"], "KeyType": "RANGE"})
        projection: dict[str, Any] = {"ProjectionType": index["projectionType"]}
        if index.get("nonKeyAttributes"):
            projection["NonKeyAttributes"] = index["nonKeyAttributes"]
        indexes.append({"IndexName": index["name"], "KeySchema": schema, "Projection": projection})
    return call | ({"GlobalSecondaryIndexes": indexes} if indexes else {})


REAL: Mapping[str, type[Real]] = {
    "aws:s3/bucket:Bucket": Bucket,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": BucketPublicAccessBlock,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": BucketOwnershipControls,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": BucketEncryption,
    "aws:s3/bucketVersioning:BucketVersioning": BucketVersioning,
    "aws:s3/bucketPolicy:BucketPolicy": BucketPolicy,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": BucketLifecycle,
    "aws:sqs/queue:Queue": Queue,
    "aws:sqs/queuePolicy:QueuePolicy": QueuePolicy,
    "aws:sqs/redrivePolicy:RedrivePolicy": RedrivePolicy,
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": RedriveAllowPolicy,
    "aws:ssm/parameter:Parameter": Parameter,
    "aws:iam/role:Role": Role,
    "aws:iam/rolePolicy:RolePolicy": RolePolicy,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": RolePolicyAttachment,
    "aws:iam/policy:Policy": Policy,
    "aws:cloudwatch/logGroup:LogGroup": LogGroup,
    "aws:sns/topic:Topic": Topic,
    "aws:sns/topicSubscription:TopicSubscription": TopicSubscription,
    "aws:dynamodb/table:Table": Table,
}
