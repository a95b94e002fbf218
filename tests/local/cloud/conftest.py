from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.cloud_process import CloudProcess
from local.runner.ports import Credentials

REGION = "us-east-1"


@pytest.fixture(scope="session")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    process = CloudProcess.start(tmp_path_factory.mktemp("cloud"), region=REGION)
    process.control("restore")
    yield process
    process.stop()


@pytest.fixture
def cloud(shared_cloud: CloudProcess) -> Iterator[CloudProcess]:
    """An embedded AWS that is empty, and is emptied again."""
    yield shared_cloud
    for kind, names in shared_cloud.control("inventory").items():
        for name in names:
            _delete(shared_cloud, kind, name)
    assert shared_cloud.control("inventory") == {}


def _delete(cloud: CloudProcess, kind: str, name: str) -> None:
    match kind:
        case "buckets":
            s3 = cloud.client("s3")
            for item in s3.list_objects_v2(Bucket=name).get("Contents", []):
                s3.delete_object(Bucket=name, Key=item["Key"])
            s3.delete_bucket(Bucket=name)
        case "queues":
            cloud.client("sqs").delete_queue(QueueUrl=f"https://sqs/{name}")
        case "parameters":
            cloud.client("ssm").delete_parameter(Name=name)
        case "roles":
            iam = cloud.client("iam")
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            iam.delete_role(RoleName=name)
        case _:
            raise AssertionError(f"a test left {kind} behind")


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[CloudProcess]:
    """An embedded AWS of the test's own, which it may kill; it keeps its contents in `tmp_path / "cloud"`."""
    process = CloudProcess.start(tmp_path / "cloud", region=REGION)
    process.control("restore")
    yield process
    process.stop()


ClientOf = Callable[[Credentials, str], Any]


@pytest.fixture
def client_of(cloud: CloudProcess) -> ClientOf:
    """A boto3 client with a role session's credentials."""

    def make(credentials: Credentials, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=cloud.endpoint_url,
            region_name=REGION,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            config=Config(retries={"total_max_attempts": 1}, signature_version=None),
        )

    return make


RoleWith = Callable[..., Credentials]


@pytest.fixture
def role_with(cloud: CloudProcess) -> RoleWith:
    """A session of a new role that has these statements and nothing else."""

    def make(*statements: dict[str, Any], name: str = "task") -> Credentials:
        iam = cloud.client("iam")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_role_policy(RoleName=name, PolicyName="uses", PolicyDocument=document)
        return cloud.assume(arn)

    return make
