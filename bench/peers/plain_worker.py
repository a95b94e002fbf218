"""A worker that receives ten messages, and stores and deletes them one by one, with boto3.

python -m bench.peers.plain_worker
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import boto3


def main() -> None:
    sqs = boto3.client("sqs")
    s3 = boto3.client("s3")
    queue, bucket = os.environ["INBOX_QUEUE_URL"], os.environ["EMAILS_BUCKET"]
    while True:
        answer = sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=5,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        for message in answer.get("Messages", []):
            sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
            key = f"emails/{sent:%Y/%m/%d}/{message['MessageId']}.json"
            content = json.dumps(json.loads(message["Body"])).encode()
            s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json")
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
