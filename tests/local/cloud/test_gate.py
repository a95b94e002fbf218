from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as SessionCredentials
from botocore.exceptions import ClientError

from local.cloud_process import CloudProcess

QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:inbox"


def allow(action: str | list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    assert error["Code"] in {"AccessDenied", "AccessDeniedException"}, error
    return str(error["Message"])


def test_a_role_may_do_what_its_policy_says_and_nothing_else(
    cloud: CloudProcess, role_with: Any, client_of: Any
) -> None:
    url = cloud.client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
    cloud.client("sqs").create_queue(QueueName="other")
    sqs = client_of(role_with(allow("sqs:SendMessage", QUEUE_ARN)), "sqs")

    assert sqs.send_message(QueueUrl=url, MessageBody="a")["MessageId"]
    batch = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "b"}])
    assert [entry["Id"] for entry in batch["Successful"]] == ["1"]
    message = refused(sqs.receive_message, QueueUrl=url)
    assert "sqs:ReceiveMessage" in message and QUEUE_ARN in message
    assert "sqs:SendMessage" in refused(sqs.send_message, QueueUrl=url.replace("inbox", "other"), MessageBody="a")


def test_batches_need_the_permission_of_the_single_call(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    url = cloud.client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
    sqs = client_of(role_with(allow(["sqs:ReceiveMessage", "sqs:SendMessageBatch"], QUEUE_ARN)), "sqs")
    assert "sqs:SendMessage on" in refused(
        sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "b"}]
    )
    assert "sqs:DeleteMessage on" in refused(
        sqs.delete_message_batch, QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": "x"}]
    )


def test_parameters_are_told_apart(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    for name in ("/app/token", "/app/other", "flat"):
        cloud.client("ssm").put_parameter(Name=name, Value=f"value of {name}", Type="SecureString")
    arn = "arn:aws:ssm:us-east-1:123456789012:parameter/"
    ssm = client_of(
        role_with(allow("ssm:GetParameter", arn + "app/token"), allow("ssm:GetParameters", arn + "flat")), "ssm"
    )

    assert ssm.get_parameter(Name="/app/token", WithDecryption=True)["Parameter"]["Value"] == "value of /app/token"
    assert ssm.get_parameters(Names=["flat"], WithDecryption=True)["Parameters"][0]["Value"] == "value of flat"
    assert arn + "app/other" in refused(ssm.get_parameter, Name="/app/other")
    assert arn + "app/other" in refused(ssm.get_parameters, Names=["flat", "/app/other"])


def test_objects_are_told_apart_by_their_keys(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    cloud.client("s3").create_bucket(Bucket="emails")
    s3 = client_of(role_with(allow("s3:PutObject", "arn:aws:s3:::emails/emails/*")), "s3")

    s3.put_object(Bucket="emails", Key="emails/2026/ä b+c.json", Body=b"{}")
    assert "s3:PutObject" in refused(s3.put_object, Bucket="emails", Key="elsewhere", Body=b"{}")
    assert "s3:GetObject" in refused(s3.get_object, Bucket="emails", Key="emails/2026/ä b+c.json")
    assert "s3:ListBucket" in refused(s3.list_objects_v2, Bucket="emails")
    assert "s3:DeleteObject" in refused(s3.delete_object, Bucket="emails", Key="emails/2026/ä b+c.json")
    assert "s3:GetObject" in refused(
        s3.copy_object,
        Bucket="emails",
        Key="emails/copy",
        CopySource={"Bucket": "emails", "Key": "emails/2026/ä b+c.json"},
    )


def test_a_role_without_policies_may_do_nothing(role_with: Any, client_of: Any) -> None:
    credentials = role_with()
    assert "iam:ListRoles" in refused(client_of(credentials, "iam").list_roles)
    assert "dynamodb:ListTables" in refused(client_of(credentials, "dynamodb").list_tables)
    assert client_of(credentials, "sts").get_caller_identity()["Arn"].endswith("assumed-role/task/local-task")


def test_attached_policies_count_as_inline_ones_do(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    cloud.client("s3").create_bucket(Bucket="emails")
    task = client_of(role_with(), "s3")
    iam = cloud.client("iam")
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}'
    arn = iam.create_policy(PolicyName="listing", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="task", PolicyArn=arn)
    try:
        assert task.list_objects_v2(Bucket="emails")["KeyCount"] == 0
    finally:
        iam.detach_role_policy(RoleName="task", PolicyArn=arn)
        iam.delete_policy(PolicyArn=arn)
    assert "s3:ListBucket" in refused(task.list_objects_v2, Bucket="emails")


def test_the_operator_may_do_everything(cloud: CloudProcess) -> None:
    assert cloud.client("iam").list_roles()["Roles"] == []
    assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"


@pytest.mark.parametrize(
    ("key", "secret", "token", "code"),
    [
        ("unknown", "test", None, "InvalidAccessKeyId"),
        ("test", "wrong", None, "SignatureDoesNotMatch"),
        ("test", "test", "a token of nobody", "InvalidClientTokenId"),
    ],
)
def test_a_request_that_is_not_signed_by_who_it_says_is_refused(
    cloud: CloudProcess, key: str, secret: str, token: str | None, code: str
) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )
    with pytest.raises(ClientError) as raised:
        s3.list_buckets()
    assert raised.value.response["Error"]["Code"] == code


def test_an_unsigned_request_is_refused(cloud: CloudProcess) -> None:
    cloud.client("s3").create_bucket(Bucket="emails")
    for path in ("/emails", "/moto-api/data.json"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(cloud.endpoint_url + path)
        assert raised.value.code == 403
        raised.value.close()


def test_a_presigned_url_is_good_for_what_it_was_signed_for(cloud: CloudProcess, role_with: Any) -> None:
    cloud.client("s3").create_bucket(Bucket="emails")
    cloud.client("s3").put_object(Bucket="emails", Key="a", Body=b"content")
    credentials = role_with(allow("s3:GetObject", "arn:aws:s3:::emails/a"))
    s3 = boto3.client(
        "s3",
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "emails", "Key": "a"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"content"
    for bad in (
        url.replace("/emails/a?", "/emails/b?"),
        s3.generate_presigned_url("get_object", Params={"Bucket": "emails", "Key": "a"}, ExpiresIn=0),
    ):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(bad)
        assert raised.value.code == 403
        raised.value.close()


def test_a_bucket_policy_that_asks_for_tls_lets_signed_requests_through(
    cloud: CloudProcess, role_with: Any, client_of: Any
) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="emails")
    s3.put_bucket_policy(
        Bucket="emails",
        Policy='{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::emails/*",'
        '"Condition":{"Bool":{"aws:SecureTransport":"false"}}},'
        '{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::emails/no/*"}]}',
    )
    task = client_of(role_with(allow("s3:PutObject", "arn:aws:s3:::emails/*")), "s3")
    task.put_object(Bucket="emails", Key="yes/a", Body=b"")
    assert "explicit deny" in refused(task.put_object, Bucket="emails", Key="no/a", Body=b"")


def test_only_a_role_that_exists_can_be_assumed(cloud: CloudProcess) -> None:
    with pytest.raises(ClientError, match="there is no role"):
        cloud.assume("arn:aws:iam::123456789012:role/nobody")


def test_a_deleted_role_takes_its_sessions_with_it(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    cloud.client("sqs").create_queue(QueueName="inbox")
    sqs = client_of(role_with(allow("sqs:*", "*")), "sqs")
    assert sqs.get_queue_url(QueueName="inbox")["QueueUrl"]
    cloud.client("iam").delete_role_policy(RoleName="task", PolicyName="uses")
    cloud.client("iam").delete_role(RoleName="task")
    assert "role has been deleted" in refused(sqs.get_queue_url, QueueName="inbox")


def signed(cloud: CloudProcess, credentials: Any, service: str, **request: Any) -> tuple[int, str]:
    """Sends a request that no SDK would build, signed as it should be. Returns the status and the body."""
    wire = AWSRequest(
        method=request.get("method", "POST"),
        url=cloud.endpoint_url + request.get("path", "/"),
        data=request.get("data", ""),
        headers=request.get("headers", {}),
    )
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    frozen = SessionCredentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    signer(frozen, service, "us-east-1").add_auth(wire)
    prepared = wire.prepare()
    body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
    sent = urllib.request.Request(prepared.url, body or None, dict(prepared.headers), method=prepared.method)
    try:
        with urllib.request.urlopen(sent) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def target(name: str) -> dict[str, str]:
    return {"X-Amz-Target": name, "Content-Type": "application/x-amz-json-1.0"}


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("service", "request_"),
    [
        ("ssm", {"headers": target("AmazonSSM.GetParameter"), "data": '{"Name":"secret","Names":["token"]}'}),
        (
            "ssm",
            {
                "headers": target("AmazonSSM.GetParameter"),
                "data": '{"Name":"token"}',
                "path": "/?Action=GetParametersByPath",
            },
        ),
        ("sqs", {"headers": target("AmazonSQS.SendMessage"), "data": "{}", "path": "/?Action=ReceiveMessage"}),
        ("sqs", {"headers": FORM, "data": "Action=ReceiveMessage&Action=SendMessage&QueueUrl=https://sqs/1/inbox"}),
        (
            "sqs",
            {
                "headers": FORM,
                "data": "Action=SendMessage&QueueUrl=https://sqs/1/inbox",
                "path": "/?Action=ReceiveMessage",
            },
        ),
        (
            "sqs",
            {
                "headers": target("AmazonSQS.SendMessage"),
                "data": '{"QueueUrl":"https://sqs/1/dead","QueueName":"inbox","MessageBody":"a"}',
            },
        ),
        ("s3", {"method": "PUT", "path": "/emails/emails/a.json", "headers": {"Host": "other.s3.amazonaws.com"}}),
        ("s3", {"method": "GET", "path": "/emails?logging"}),
        ("s3", {"method": "PUT", "path": "/emails/emails/a.json?retention"}),
        ("s3", {"method": "PUT", "path": "/emails/emails/a.json?acl=&acl="}),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(
    cloud: CloudProcess, role_with: Any, service: str, request_: dict[str, Any]
) -> None:
    for queue in ("inbox", "dead"):
        cloud.client("sqs").create_queue(QueueName=queue)
    for name in ("token", "secret"):
        cloud.client("ssm").put_parameter(Name=name, Value=f"value of {name}", Type="SecureString")
    cloud.client("s3").create_bucket(Bucket="emails")
    credentials = role_with(
        allow("sqs:SendMessage", QUEUE_ARN),
        allow("ssm:GetParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/token"),
        allow(["s3:PutObject", "s3:PutObjectAcl"], "arn:aws:s3:::emails/emails/*"),
        allow("s3:ListBucket", "arn:aws:s3:::emails"),
    )
    status, body = signed(cloud, credentials, service, **request_)
    assert status in {400, 403}
    assert "AccessDenied" in body
    assert "value of secret" not in body


def test_a_list_may_be_allowed_for_a_prefix_only(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    cloud.client("s3").create_bucket(Bucket="emails")
    only = {"StringLike": {"s3:prefix": ["emails/*", "emails/"]}}
    s3 = client_of(role_with(allow("s3:ListBucket", "arn:aws:s3:::emails") | {"Condition": only}), "s3")
    assert s3.list_objects_v2(Bucket="emails", Prefix="emails/")["KeyCount"] == 0
    assert "s3:ListBucket" in refused(s3.list_objects_v2, Bucket="emails")
    assert "s3:ListBucket" in refused(s3.list_objects_v2, Bucket="emails", Prefix="other/")


@pytest.mark.parametrize("date", ["20200101T000000Z", "yesterday"])
def test_a_request_of_another_time_is_refused(cloud: CloudProcess, date: str) -> None:
    scope = "Credential=test/20200101/us-east-1/sqs/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host;x-amz-date, Signature=0"
    request = urllib.request.Request(
        cloud.endpoint_url, b"{}", target("AmazonSQS.ListQueues") | {"Authorization": authorization, "X-Amz-Date": date}
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert raised.value.code in {400, 403}
    raised.value.close()


def test_a_role_of_the_same_name_is_another_role(cloud: CloudProcess, role_with: Any, client_of: Any) -> None:
    cloud.client("sqs").create_queue(QueueName="inbox")
    old = client_of(role_with(allow("sqs:*", "*")), "sqs")
    iam = cloud.client("iam")
    iam.delete_role_policy(RoleName="task", PolicyName="uses")
    iam.delete_role(RoleName="task")
    role_with(allow("sqs:*", "*"))
    assert "role has been deleted" in refused(old.get_queue_url, QueueName="inbox")
