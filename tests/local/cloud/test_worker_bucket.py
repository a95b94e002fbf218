"""The worker's own S3 client against the gate: signed as the gate demands, and asking for no more than the role has."""

from __future__ import annotations

import json

import pytest

from local.cloud_process import CloudProcess
from service.aws.bucket import S3Bucket, StoreFailed
from service.aws.clients import Clients
from tests.local.cloud.conftest import REGION


@pytest.fixture
def bucket(cloud: CloudProcess, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    cloud.client("s3").create_bucket(Bucket="letters")
    iam = cloud.client("iam")
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::letters/emails/*"}
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument="{}")
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="worker", PolicyName="put", PolicyDocument=document)
    credentials = cloud.assume("arn:aws:iam::123456789012:role/worker")
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", credentials.session_token)
    return S3Bucket(Clients(REGION), "letters")


def test_put_object_is_all_that_the_worker_needs(cloud: CloudProcess, bucket: S3Bucket) -> None:
    assert bucket.put("emails/2025/06/09/a b+é.json", b'{"a":1}') is True
    assert bucket.put("emails/2025/06/09/a b+é.json", b'{"a":1}') is False
    stored = cloud.client("s3").get_object(Bucket="letters", Key="emails/2025/06/09/a b+é.json")
    assert stored["Body"].read() == b'{"a":1}'


def test_elsewhere_it_is_refused(bucket: S3Bucket) -> None:
    with pytest.raises(StoreFailed, match=r"^AccessDenied$"):
        bucket.put("elsewhere/a.json", b"{}")
