from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from local.cloud_process import CloudProcess


def test_no_message_is_lost_or_doubled_between_concurrent_senders_and_receivers(cloud: CloudProcess) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sent, received = set(), []
    lock = threading.Lock()
    done = threading.Event()

    def send(number: int) -> None:
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
        with lock:
            sent.add(str(number))

    def receive() -> None:
        while not done.is_set():
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
                "Messages", []
            ):
                with lock:
                    received.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    with ThreadPoolExecutor(6) as pool:
        receivers = [pool.submit(receive) for _ in range(2)]
        list(pool.map(send, range(150)))
        deadline = time.monotonic() + 120
        while len(received) < 150 and time.monotonic() < deadline:
            time.sleep(0.05)
        done.set()
        for future in receivers:
            future.result()
    assert len(sent) == 150
    assert sorted(received) == sorted(sent)


def test_a_long_poll_ends_when_a_message_comes_and_holds_nothing_up(cloud: CloudProcess) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
        time.sleep(0.3)
        started = time.monotonic()
        sqs.send_message(QueueUrl=url, MessageBody="a")
        assert poll.result(timeout=120)["Messages"][0]["Body"] == "a"
        assert time.monotonic() - started < 10


def test_a_poll_whose_client_has_gone_receives_nothing(cloud: CloudProcess) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    impatient = boto3.client(
        "sqs",
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(read_timeout=0.3, retries={"total_max_attempts": 1}),
    )
    try:
        impatient.receive_message(QueueUrl=url, WaitTimeSeconds=20)
        raise AssertionError("the poll was to time out")
    except Exception as error:
        assert "Read timeout" in str(error)
    sqs.send_message(QueueUrl=url, MessageBody="a")
    time.sleep(0.5)
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "a"
