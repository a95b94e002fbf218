"""Every type that is created for real: made, made again, changed, deleted, and seen to be gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud_process import CloudProcess
from local.providers.aws.place import place_in
from local.providers.aws.real import REAL, Clients, Real
from local.restore import undo_unfinished

POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}]}'
)
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:other"

# The resources that must be there first, the inputs, and the inputs of an update that is no replacement.
CASES: dict[str, tuple[dict[str, dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "aws:s3/bucket:Bucket": ({}, {"bucket": "emails", "forceDestroy": True}, {"tags": {"a": "b"}}),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        {"aws:s3/bucket:Bucket": {"bucket": "emails"}},
        {"bucket": "emails", "blockPublicAcls": True},
        {"restrictPublicBuckets": True},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        {"aws:s3/bucket:Bucket": {"bucket": "emails"}},
        {"bucket": "emails", "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        {"aws:s3/bucket:Bucket": {"bucket": "emails"}},
        {"bucket": "emails", "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "k"}}]},
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (
        {"aws:s3/bucket:Bucket": {"bucket": "emails"}},
        {"bucket": "emails", "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (
        {"aws:s3/bucket:Bucket": {"bucket": "emails"}},
        {"bucket": "emails", "policy": POLICY},
        {},
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        {"aws:s3/bucket:Bucket": {"bucket": "emails"}},
        {
            "bucket": "emails",
            "rules": [{"id": "a", "status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1}}],
        },
        {"rules": [{"id": "a", "status": "Enabled", "filter": {"prefix": "x"}, "expiration": {"days": 2}}]},
    ),
    "aws:sqs/queue:Queue": ({}, {"name": "inbox", "visibilityTimeoutSeconds": 60}, {"visibilityTimeoutSeconds": 90}),
    "aws:sqs/queuePolicy:QueuePolicy": (
        {"aws:sqs/queue:Queue": {"name": "inbox"}},
        {"queueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/inbox", "policy": POLICY},
        {},
    ),
    "aws:sqs/redrivePolicy:RedrivePolicy": (
        {"aws:sqs/queue:Queue": {"name": "other"}, "aws:sqs/queue:Queue#2": {"name": "inbox"}},
        {
            "queueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/inbox",
            "redrivePolicy": f'{{"deadLetterTargetArn":"{QUEUE_ARN}","maxReceiveCount":3}}',
        },
        {},
    ),
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": (
        {"aws:sqs/queue:Queue": {"name": "inbox"}},
        {
            "queueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/inbox",
            "redriveAllowPolicy": '{"redrivePermission":"denyAll"}',
        },
        {},
    ),
    "aws:ssm/parameter:Parameter": (
        {},
        {"name": "token", "type": "SecureString", "valueWo": "a", "valueWoVersion": 1},
        {"valueWo": "b", "valueWoVersion": 2},
    ),
    "aws:iam/role:Role": (
        {},
        {"name": "task", "assumeRolePolicy": TRUST},
        {"assumeRolePolicy": TRUST.replace("ecs-tasks", "scheduler")},
    ),
    "aws:iam/rolePolicy:RolePolicy": (
        {"aws:iam/role:Role": {"name": "task", "assumeRolePolicy": TRUST}},
        {"role": "task", "name": "uses", "policy": POLICY},
        {"policy": POLICY.replace("Get", "Put")},
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": (
        {
            "aws:iam/role:Role": {"name": "task", "assumeRolePolicy": TRUST},
            "aws:iam/policy:Policy": {"name": "shared", "policy": POLICY},
        },
        {"role": "task", "policyArn": "arn:aws:iam::123456789012:policy/shared"},
        {},
    ),
    "aws:iam/policy:Policy": ({}, {"name": "shared", "policy": POLICY}, {"policy": POLICY.replace("Get", "Put")}),
    "aws:cloudwatch/logGroup:LogGroup": ({}, {"name": "/ecs/api", "retentionInDays": 7}, {"retentionInDays": 30}),
    "aws:sns/topic:Topic": ({}, {"name": "alarms"}, {"displayName": "x"}),
    "aws:sns/topicSubscription:TopicSubscription": (
        {"aws:sns/topic:Topic": {"name": "alarms"}, "aws:sqs/queue:Queue": {"name": "other"}},
        {"topic": "arn:aws:sns:us-east-1:123456789012:alarms", "protocol": "sqs", "endpoint": QUEUE_ARN},
        {},
    ),
    "aws:dynamodb/table:Table": (
        {},
        {
            "name": "uploads",
            "hashKey": "id",
            "rangeKey": "at",
            "attributes": [{"name": "id", "type": "S"}, {"name": "at", "type": "N"}, {"name": "owner", "type": "S"}],
            "globalSecondaryIndexes": [{"name": "by-owner", "hashKey": "owner", "projectionType": "KEYS_ONLY"}],
        },
        {"ttl": {"attributeName": "expires", "enabled": True}},
    ),
}

# A bucket's versioning can be suspended, and never taken away; the other one the embedded AWS doesn't answer.
OUTLIVING = {"aws:s3/bucketVersioning:BucketVersioning", "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    process = CloudProcess.start(tmp_path_factory.mktemp("cloud"), region="us-east-1")
    process.control("restore")
    yield process
    process.stop()


def kind(cloud: CloudProcess, token: str) -> Real:
    place = place_in("us-east-1")
    return REAL[token.partition("#")[0]](place, Clients(place, cloud.endpoint_url))


@pytest.mark.parametrize("token", sorted(REAL))
def test_it_is_made_made_again_changed_and_deleted(cloud: CloudProcess, token: str) -> None:
    before, inputs, changed = CASES[token]
    made = [(kind(cloud, name), kind(cloud, name).create("first", first), first) for name, first in before.items()]
    subject = kind(cloud, token)

    created = subject.create("subject", inputs)
    state = inputs | created.computed
    assert created.id
    assert set(created.computed) >= subject.outputs, "every output of the type is there"
    assert subject.exists(created.id, state)

    # Putting back after a restart is the same step, and comes to the same.
    assert subject.put(inputs).id == created.id
    state |= subject.update(created.id, state, inputs | changed)
    state |= inputs | changed
    # Read back it is what was asked for, and once it is gone, nothing.
    assert subject.read(created.id, state) == state

    subject.delete(created.id, state)
    subject.delete(created.id, state)
    assert subject.read(created.id, state) is None or token in OUTLIVING
    for other, first, first_inputs in reversed(made):
        other.delete(first.id, first_inputs)
    assert cloud.control("inventory") == {}


@pytest.mark.parametrize("token", [token for token in sorted(REAL) if REAL[token].exclusive])
def test_a_name_that_is_taken_is_refused(cloud: CloudProcess, token: str) -> None:
    _, inputs, _ = CASES[token]
    subject = kind(cloud, token)
    created = subject.create("subject", inputs)
    try:
        with pytest.raises(ValueError, match="exists already"):
            kind(cloud, token).create("other", inputs)
    finally:
        subject.delete(created.id, inputs | created.computed)


def test_a_write_only_value_is_written_when_its_version_changes(cloud: CloudProcess) -> None:
    subject = kind(cloud, "aws:ssm/parameter:Parameter")
    inputs = {"name": "token", "type": "SecureString", "valueWo": "first", "valueWoVersion": 1}
    created = subject.create("token", inputs)

    def value() -> str:
        answer = cloud.client("ssm").get_parameter(Name="token", WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    subject.update(created.id, inputs, inputs | {"valueWo": "second"})
    assert value() == "first"
    subject.update(created.id, inputs, inputs | {"valueWo": "second", "valueWoVersion": 2})
    assert value() == "second"
    subject.delete(created.id, inputs)


def test_another_change_of_a_parameter_sends_an_empty_value_which_aws_refuses(cloud: CloudProcess) -> None:
    # internal/service/ssm/parameter.go of hashicorp/terraform-provider-aws, resourceParameterUpdate.
    subject = kind(cloud, "aws:ssm/parameter:Parameter")
    inputs = {"name": "token", "type": "SecureString", "valueWo": "first", "valueWoVersion": 1}
    created = subject.create("token", inputs)
    try:
        with pytest.raises(ClientError, match="length greater than or equal to 1"):
            subject.update(created.id, inputs, inputs | {"description": "x"})
        assert "version" in subject.update(created.id, inputs, inputs | {"description": "x", "valueWoVersion": 2})
        # Tags take another call.
        assert "version" not in subject.update(created.id, inputs, inputs | {"tags": {"a": "b"}})
    finally:
        subject.delete(created.id, inputs)


@pytest.mark.parametrize(
    ("token", "inputs", "change", "read"),
    [
        (
            "aws:sqs/queue:Queue",
            {"name": "inbox", "visibilityTimeoutSeconds": 60, "sqsManagedSseEnabled": True},
            lambda cloud, id: cloud.client("sqs").set_queue_attributes(
                QueueUrl=id, Attributes={"VisibilityTimeout": "90"}
            ),
            {"visibilityTimeoutSeconds": 90},
        ),
        (
            "aws:ssm/parameter:Parameter",
            {"name": "token", "type": "SecureString", "valueWo": None, "valueWoVersion": 1},
            lambda cloud, id: cloud.client("ssm").put_parameter(
                Name=id, Value="rotated", Type="SecureString", Overwrite=True
            ),
            {"version": 2},
        ),
        (
            "aws:ssm/parameter:Parameter",
            {"name": "plain", "type": "String", "value": "a"},
            lambda cloud, id: cloud.client("ssm").put_parameter(Name=id, Value="b", Type="String", Overwrite=True),
            {"version": 2, "value": "b"},
        ),
        (
            "aws:cloudwatch/logGroup:LogGroup",
            {"name": "/ecs/api", "retentionInDays": 7},
            lambda cloud, id: cloud.client("logs").delete_retention_policy(logGroupName=id),
            {"retentionInDays": 0},
        ),
        (
            "aws:iam/role:Role",
            {"name": "task", "assumeRolePolicy": TRUST},
            lambda cloud, id: cloud.client("iam").update_assume_role_policy(
                RoleName=id, PolicyDocument=TRUST.replace("ecs-tasks", "scheduler")
            ),
            {"assumeRolePolicy": json.dumps(json.loads(TRUST.replace("ecs-tasks", "scheduler")))},
        ),
    ],
)
def test_what_was_changed_outside_is_read_back(
    cloud: CloudProcess, token: str, inputs: Any, change: Any, read: Any
) -> None:
    subject = kind(cloud, token)
    created = subject.create("subject", inputs)
    state = inputs | created.computed
    try:
        assert subject.read(created.id, state) == state
        change(cloud, created.id)
        assert subject.read(created.id, state) == state | read
    finally:
        subject.delete(created.id, state)


def test_without_an_embedded_aws_the_state_is_all_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_CLOUD_ENDPOINT", raising=False)
    place = place_in("us-east-1")
    assert REAL["aws:sqs/queue:Queue"](place, Clients(place)).read("id", {"name": "inbox"}) == {"name": "inbox"}


def test_a_bucket_with_objects_goes_only_when_it_is_forced(cloud: CloudProcess) -> None:
    subject = kind(cloud, "aws:s3/bucket:Bucket")
    created = subject.create("b", {"bucket": "emails"})
    cloud.client("s3").put_object(Bucket="emails", Key="a", Body=b"")
    with pytest.raises(Exception, match="BucketNotEmpty"):
        subject.delete(created.id, {"bucket": "emails"})
    subject.delete(created.id, {"bucket": "emails", "forceDestroy": True})
    assert not subject.exists(created.id, {"bucket": "emails"})


def test_without_an_embedded_aws_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_CLOUD_ENDPOINT", raising=False)
    place = place_in("us-east-1")
    with pytest.raises(ValueError, match="no embedded AWS"):
        REAL["aws:sqs/queue:Queue"](place, Clients(place)).create("q", {"name": "inbox"})


@pytest.mark.parametrize("token", sorted(REAL))
@pytest.mark.parametrize("made", [True, False])
def test_what_an_interrupted_engine_may_have_made_is_undone(cloud: CloudProcess, token: str, made: bool) -> None:
    before, inputs, _ = CASES[token]
    firsts = [(kind(cloud, name), kind(cloud, name).create("first", first), first) for name, first in before.items()]
    if made:
        kind(cloud, token).create("subject", inputs)
    operation = {
        "type": "creating",
        "resource": {"urn": f"urn:pulumi:local::p::{token}::x", "type": token, "inputs": inputs},
    }
    assert undo_unfinished({"pending_operations": [operation]}, cloud.endpoint_url) == [operation["resource"]["urn"]]  # type: ignore[index]
    for other, first, first_inputs in reversed(firsts):
        other.delete(first.id, first_inputs)
    assert cloud.control("inventory") == {}


@pytest.mark.parametrize("doing", ["deleting", "updating"])
def test_what_an_interrupted_engine_was_taking_away_is_put_back(cloud: CloudProcess, doing: str) -> None:
    role = {"urn": "urn:pulumi:local::p::aws:iam/role:Role::x", "type": "aws:iam/role:Role"}
    role |= {"inputs": {"name": "task", "assumeRolePolicy": TRUST}}  # type: ignore[dict-item]
    undo_unfinished(
        {"resources": [role], "pending_operations": [{"type": doing, "resource": role}]}, cloud.endpoint_url
    )
    assert cloud.control("inventory") == {"roles": ["task"]}
    kind(cloud, "aws:iam/role:Role").delete("task", {})
