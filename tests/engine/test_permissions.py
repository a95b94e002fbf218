"""What the deployed roles may do and may not, asked with the tasks' own credentials."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.runner.stack import reveal


class Task:
    """A workload's task role, as its tasks have it."""

    def __init__(self, deployed_place: Any, family: str) -> None:
        self.place, deployed = deployed_place
        self.outputs = reveal(deployed.outputs)
        [definition] = [
            reveal(r["outputs"])
            for r in deployed.resources
            if r["type"] == "aws:ecs/taskDefinition:TaskDefinition" and str(r["urn"]).endswith(f"::{family}")
        ]
        self.definition = definition
        self.credentials = self.place.cloud.assume(definition["taskRoleArn"])

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.place.cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.credentials.access_key_id,
            aws_secret_access_key=self.credentials.secret_access_key,
            aws_session_token=self.credentials.session_token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def refused(self, action: str, call: Any, **arguments: Any) -> None:
        with pytest.raises(ClientError) as raised:
            call(**arguments)
        error = raised.value.response["Error"]
        assert error["Code"] in {"AccessDenied", "AccessDeniedException"}, error
        assert f"is not authorized to perform: {action} on resource" in error["Message"]


@pytest.fixture
def api(deployed_place: Any) -> Task:
    return Task(deployed_place, "api")


@pytest.fixture
def worker(deployed_place: Any) -> Task:
    return Task(deployed_place, "worker")


@pytest.fixture
def sweep(deployed_place: Any) -> Task:
    return Task(deployed_place, "sweep")


def test_the_api_may_send_and_read_its_token(api: Task) -> None:
    assert api.client("sqs").send_message(QueueUrl=api.outputs["queueUrl"], MessageBody="{}")["MessageId"]
    assert api.client("ssm").get_parameter(Name=api.outputs["tokenParameter"], WithDecryption=True)["Parameter"][
        "Value"
    ]


def test_the_api_is_refused_s3_get_object(api: Task) -> None:
    api.refused("s3:GetObject", api.client("s3").get_object, Bucket=api.outputs["bucket"], Key="emails/a.json")


def test_the_api_is_refused_s3_list_bucket(api: Task) -> None:
    api.refused("s3:ListBucket", api.client("s3").list_objects_v2, Bucket=api.outputs["bucket"])


def test_the_api_is_refused_s3_put_object(api: Task) -> None:
    api.refused(
        "s3:PutObject", api.client("s3").put_object, Bucket=api.outputs["bucket"], Key="emails/a.json", Body=b""
    )


def test_the_api_is_refused_sqs_receive_message(api: Task) -> None:
    api.refused("sqs:ReceiveMessage", api.client("sqs").receive_message, QueueUrl=api.outputs["queueUrl"])


def test_the_api_is_refused_the_dead_letter_queue(api: Task) -> None:
    url = api.outputs["deadLetterQueueUrl"]
    api.refused("sqs:SendMessage", api.client("sqs").send_message, QueueUrl=url, MessageBody="{}")


def test_the_api_is_refused_other_parameters(api: Task) -> None:
    operator = api.place.cloud.client("ssm")
    operator.put_parameter(Name="somebody-elses", Value="x", Type="SecureString")
    try:
        api.refused("ssm:GetParameter", api.client("ssm").get_parameter, Name="somebody-elses", WithDecryption=True)
        api.refused("ssm:GetParameter", api.client("ssm").get_parameter, Name=api.outputs["tokenParameter"] + "x")
        api.refused("ssm:GetParametersByPath", api.client("ssm").get_parameters_by_path, Path="/")
        api.refused(
            "ssm:PutParameter",
            api.client("ssm").put_parameter,
            Name=api.outputs["tokenParameter"],
            Value="x",
            Type="SecureString",
            Overwrite=True,
        )
    finally:
        operator.delete_parameter(Name="somebody-elses")


def test_the_worker_may_receive_and_write_under_emails(worker: Task) -> None:
    worker.client("sqs").receive_message(QueueUrl=worker.outputs["queueUrl"])
    key = "emails/2026/01/31/test-permission.json"
    worker.client("s3").put_object(Bucket=worker.outputs["bucket"], Key=key, Body=b"{}")
    worker.place.cloud.client("s3").delete_object(Bucket=worker.outputs["bucket"], Key=key)


def test_the_worker_is_refused_sqs_send_message(worker: Task) -> None:
    sqs, url = worker.client("sqs"), worker.outputs["queueUrl"]
    worker.refused("sqs:SendMessage", sqs.send_message, QueueUrl=url, MessageBody="{}")
    worker.refused("sqs:SendMessage", sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "{}"}])


def test_the_worker_is_refused_sqs_purge_queue(worker: Task) -> None:
    worker.refused("sqs:PurgeQueue", worker.client("sqs").purge_queue, QueueUrl=worker.outputs["queueUrl"])


def test_the_worker_is_refused_objects_elsewhere_and_reads(worker: Task) -> None:
    s3, bucket = worker.client("s3"), worker.outputs["bucket"]
    worker.refused("s3:PutObject", s3.put_object, Bucket=bucket, Key="elsewhere/a.json", Body=b"")
    worker.refused("s3:GetObject", s3.get_object, Bucket=bucket, Key="emails/a.json")
    worker.refused("s3:DeleteObject", s3.delete_object, Bucket=bucket, Key="emails/a.json")


def test_the_worker_is_refused_ssm_get_parameter(worker: Task) -> None:
    worker.refused("ssm:GetParameter", worker.client("ssm").get_parameter, Name=worker.outputs["tokenParameter"])


def test_the_sweep_may_do_nothing_in_s3_sqs_and_ssm(sweep: Task) -> None:
    sweep.refused("s3:ListBucket", sweep.client("s3").list_objects_v2, Bucket=sweep.outputs["bucket"])
    sweep.refused(
        "sqs:SendMessage", sweep.client("sqs").send_message, QueueUrl=sweep.outputs["queueUrl"], MessageBody=""
    )
    sweep.refused("ssm:GetParameter", sweep.client("ssm").get_parameter, Name=sweep.outputs["tokenParameter"])


def test_the_execution_role_is_not_the_task_role(api: Task, worker: Task, sweep: Task) -> None:
    roles = [task.definition[key] for task in (api, worker, sweep) for key in ("taskRoleArn", "executionRoleArn")]
    assert len(set(roles)) == 6
