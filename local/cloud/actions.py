"""Which permissions a request needs: its IAM action and the ARN of what it touches.

Actions follow the service authorization reference (https://docs.aws.amazon.com/service-authorization/latest/reference/),
not the names of the API calls: a batch call asks for the permission of the single one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from local.cloud.policy import Access
from local.cloud.request import CloudRequest, SignedScope

_SAME_PERMISSION = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "dynamodb:TransactGetItems": "dynamodb:GetItem",
    "sns:PublishBatch": "sns:Publish",
}
_PATH_STYLE_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_SIGNING = {
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
}
# Parameters that leave a request what it is without them; any other makes it something of its own.
_S3_BUCKET_PARAMETERS = _SIGNING | {
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "marker",
    "max-keys",
    "prefix",
    "start-after",
    "x-id",
}
_S3_OBJECT_PARAMETERS = _SIGNING | {
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "uploadId",
    "uploads",
    "versionId",
    "x-amz-checksum-mode",
    "x-id",
}
_S3_SUBRESOURCES = {
    "acl": "Acl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "notification": "BucketNotification",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "Tagging",
    "versioning": "BucketVersioning",
}


class NotAuthorizable(Exception):
    """The local stack doesn't know what permission this request needs, so no task may send it."""


@dataclass(frozen=True)
class Account:
    partition: str
    account_id: str


def needed_access(request: CloudRequest, scope: SignedScope, account: Account) -> Sequence[Access]:
    """Every permission the request needs, all of which its sender must have.

    Raises `NotAuthorizable` also for a request that could be read in two ways: what is asked for must be what is run.
    """
    if scope.service == "s3":
        return _s3(request, account)
    operation = _operation(request)
    action = f"{scope.service}:{operation}"
    action = _SAME_PERMISSION.get(action, action)
    prefix = f"arn:{account.partition}:{scope.service}:{scope.region}:{account.account_id}"
    match scope.service:
        case "sqs":
            named = "QueueName" if operation in {"CreateQueue", "GetQueueUrl"} else "QueueUrl"
            name = _text(request, named).rstrip("/").rpartition("/")[2]
            return [Access(action, f"{prefix}:{name}" if name else "*")]
        case "ssm":
            return [Access(action, _parameter_arn(prefix, name)) for name in _parameter_names(request, operation)]
        case "dynamodb":
            return [Access(action, f"{prefix}:table/{name}") for name in _tables(request, operation)] or [
                Access(action, "*")
            ]
        case "sns":
            return [Access(action, _text(request, "TopicArn") or "*")]
        case "logs":
            group, stream = _text(request, "logGroupName") or "*", _text(request, "logStreamName") or "*"
            return [Access(action, f"{prefix}:log-group:{group}:log-stream:{stream}")]
        case "sts" if operation == "AssumeRole":
            return [Access(action, _text(request, "RoleArn") or "*")]
        case _:
            return [Access(action, "*")]


def _operation(request: CloudRequest) -> str:
    """The operation, which is named in exactly one place: the target header, the body, or the query."""
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if request.target:
        if request.raw_query or form:
            raise NotAuthorizable(f"{request.target} with parameters beside its JSON body")
        return request.target
    if (form and request.body and request.raw_query) or request.repeats_a_parameter:
        raise NotAuthorizable("parameters that are given twice")
    operation = request.form.get("Action", "")
    if not operation:
        raise NotAuthorizable(f"{request.method} {request.path}")
    return operation


def _text(request: CloudRequest, name: str) -> str:
    value = request.json.get(name, "") if request.target else request.form.get(name, "")
    if not isinstance(value, str):
        raise NotAuthorizable(f"{name} that is no text")
    return value


def _parameter_names(request: CloudRequest, operation: str) -> list[str]:
    if operation in {"GetParameters", "DeleteParameters"}:
        names = request.json.get("Names")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise NotAuthorizable("Names that is no list of texts")
        return names
    if operation == "GetParametersByPath":
        return [_text(request, "Path") or "*"]
    return [_text(request, "Name") or "*"]


def _tables(request: CloudRequest, operation: str) -> list[str]:
    if operation in {"BatchGetItem", "BatchWriteItem"}:
        return list(request.json.get("RequestItems") or {})
    if operation.startswith(("Transact", "ExecuteStatement", "ExecuteTransaction", "BatchExecute")):
        raise NotAuthorizable(f"dynamodb:{operation}")
    name = _text(request, "TableName")
    return [name] if name else []


def _parameter_arn(prefix: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    # A selector (`name:version`) is not part of the resource.
    return f"{prefix}:parameter/{name.lstrip('/').partition(':')[0]}"


def _s3(request: CloudRequest, account: Account) -> Sequence[Access]:
    host = request.host.rpartition(":")[0] or request.host
    if host not in _PATH_STYLE_HOSTS:
        raise NotAuthorizable(f"a bucket in the host name {request.host}: use path-style addresses")
    if request.repeats_a_parameter:
        raise NotAuthorizable("parameters that are given twice")
    bucket, _, key = request.path.lstrip("/").partition("/")
    # A request without a bucket lists all of them.
    if not bucket:
        return [Access("s3:ListAllMyBuckets", "*")]
    arn = f"arn:{account.partition}:s3:::{bucket}"
    query = request.query
    if not key:
        return [Access(_bucket_action(request.method, set(query)), arn)]
    resource = f"{arn}/{key}"
    accesses = [Access(_object_action(request.method, set(query)), resource)]
    source = request.headers.get("x-amz-copy-source")
    if source:
        accesses.append(Access("s3:GetObject", f"arn:{account.partition}:s3:::{source.lstrip('/').partition('?')[0]}"))
    if "x-amz-tagging" in request.headers:
        accesses.append(Access("s3:PutObjectTagging", resource))
    return accesses


def _bucket_action(method: str, query: set[str]) -> str:
    for name, noun in _S3_SUBRESOURCES.items():
        if name in query:
            noun = {"acl": "BucketAcl", "tagging": "BucketTagging"}.get(name, noun)
            verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method)
            if verb is None:
                break
            # AWS has no action of its own to delete these: removing a configuration is putting none.
            if verb == "Delete" and name in {
                "lifecycle",
                "encryption",
                "cors",
                "tagging",
                "ownershipControls",
                "publicAccessBlock",
            }:
                verb = "Put"
            return f"s3:{verb}{noun}"
    if method == "POST" and "delete" in query:
        return "s3:DeleteObject"
    if method == "GET" and "uploads" in query:
        return "s3:ListBucketMultipartUploads"
    if method == "GET" and "versions" in query:
        return "s3:ListBucketVersions"
    unknown = sorted(query - _S3_BUCKET_PARAMETERS)
    if unknown:
        raise NotAuthorizable(f"s3 {method} on a bucket with {unknown}")
    plain = {"GET": "s3:ListBucket", "HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}
    if method in plain:
        return plain[method]
    raise NotAuthorizable(f"s3 {method} on a bucket with {sorted(query)}")


def _object_action(method: str, query: set[str]) -> str:
    if "tagging" in query or "acl" in query:
        noun = "ObjectTagging" if "tagging" in query else "ObjectAcl"
        verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method)
        if verb is not None:
            return f"s3:{verb}{noun}"
    if "uploadId" in query and method in {"GET", "DELETE"}:
        return "s3:ListMultipartUploadParts" if method == "GET" else "s3:AbortMultipartUpload"
    if method == "POST" and query.isdisjoint({"uploads", "uploadId"}):
        raise NotAuthorizable(f"s3 POST on an object with {sorted(query)}")
    unknown = sorted(query - _S3_OBJECT_PARAMETERS)
    if unknown:
        raise NotAuthorizable(f"s3 {method} on an object with {unknown}")
    version = "Version" if "versionId" in query else ""
    plain = {
        "GET": f"s3:GetObject{version}",
        "HEAD": f"s3:GetObject{version}",
        "PUT": "s3:PutObject",
        "POST": "s3:PutObject",
        "DELETE": f"s3:DeleteObject{version}",
    }
    if method in plain:
        return plain[method]
    raise NotAuthorizable(f"s3 {method} on an object")


def role_name(role_arn: str) -> str:
    """The role's name in its ARN, without its path. Raises ValueError for what is no role's ARN."""
    match = re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:role/(?:.*/)?([^/]+)", role_arn)
    if match is None:
        raise ValueError(f"not the ARN of a role: {role_arn!r}")
    return match.group(1)
