from __future__ import annotations

from pathlib import Path
from typing import Any

from local.cloud_process import CloudProcess


def restarted(cloud: CloudProcess, folder: Path) -> CloudProcess:
    cloud.process.kill()
    cloud.process.wait()
    cloud.stop()
    return CloudProcess.start(folder, region="us-east-1")


def test_what_was_answered_with_success_outlives_a_kill(own_cloud: CloudProcess, tmp_path: Path) -> None:
    s3, sqs, ssm = own_cloud.client("s3"), own_cloud.client("sqs"), own_cloud.client("ssm")
    s3.create_bucket(Bucket="emails")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    ssm.put_parameter(Name="token", Value="first", Type="SecureString")

    s3.put_object(Bucket="emails", Key="kept", Body=b"\x00bytes", ContentType="application/json", Metadata={"a": "b"})
    s3.put_object(Bucket="emails", Key="deleted", Body=b"")
    s3.delete_object(Bucket="emails", Key="deleted")
    before = s3.head_object(Bucket="emails", Key="kept")
    attribute = {
        "id": {"DataType": "String", "StringValue": "7"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    kept = sqs.send_message(QueueUrl=url, MessageBody="kept", MessageAttributes=attribute)["MessageId"]
    sqs.send_message(QueueUrl=url, MessageBody="done")
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    done = next(message for message in received if message["Body"] == "done")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=done["ReceiptHandle"])
    ssm.put_parameter(Name="token", Value="rotated", Type="SecureString", Overwrite=True)

    again = restarted(own_cloud, tmp_path / "cloud")
    try:
        # The containers come from the engine's state.
        again.client("s3").create_bucket(Bucket="emails")
        again.client("sqs").create_queue(QueueName="inbox")
        again.client("ssm").put_parameter(Name="token", Value="first", Type="SecureString")
        assert again.control("restore") == {"object": 1, "message": 1, "parameter": 1}

        found = again.client("s3").get_object(Bucket="emails", Key="kept")
        assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
            b"\x00bytes",
            "application/json",
            {"a": "b"},
        )
        assert (found["ETag"], found["LastModified"]) == (before["ETag"], before["LastModified"])
        assert [o["Key"] for o in again.client("s3").list_objects_v2(Bucket="emails")["Contents"]] == ["kept"]
        # What a dead worker had in its hands is there to be received again, as the same message.
        messages: list[Any] = again.client("sqs").receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )["Messages"]
        assert [(m["MessageId"], m["Body"]) for m in messages] == [(kept, "kept")]
        assert messages[0]["MessageAttributes"]["raw"]["BinaryValue"] == b"\x00\xff"
        value = again.client("ssm").get_parameter(Name="token", WithDecryption=True)["Parameter"]
        assert (value["Value"], value["Version"]) == ("rotated", 2)
        before = again.client("ssm").get_parameter(Name="token:1", WithDecryption=True)["Parameter"]
        assert before["Value"] == "first"
    finally:
        again.stop()


def test_a_deleted_container_takes_its_contents_with_it(own_cloud: CloudProcess, tmp_path: Path) -> None:
    sqs = own_cloud.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="a")
    sqs.delete_queue(QueueUrl=url)

    again = restarted(own_cloud, tmp_path / "cloud")
    try:
        again.client("sqs").create_queue(QueueName="inbox")
        assert again.control("restore") == {}
        assert "Messages" not in again.client("sqs").receive_message(QueueUrl=url)
    finally:
        again.stop()


def test_messages_that_moved_to_the_dead_letter_queue_stay_there(own_cloud: CloudProcess, tmp_path: Path) -> None:
    sqs = own_cloud.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":1}'
    attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    url = sqs.create_queue(QueueName="inbox", Attributes=attributes)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(2):
        sqs.receive_message(QueueUrl=url)

    again = restarted(own_cloud, tmp_path / "cloud")
    try:
        again.client("sqs").create_queue(QueueName="dead")
        again.client("sqs").create_queue(QueueName="inbox", Attributes=attributes)
        again.control("restore")
        assert [m["Body"] for m in again.client("sqs").receive_message(QueueUrl=dead)["Messages"]] == ["poison"]
    finally:
        again.stop()
