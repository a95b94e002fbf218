"""``POST /ingest`` with FastAPI and boto3, one call to SQS a request: a ``def`` endpoint, which FastAPI runs in a thread.

uvicorn bench.peers.fastapi_ingest:app
"""

from __future__ import annotations

import hmac
import json
import os
from datetime import datetime

import boto3
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

QUEUE_URL = os.environ["INBOX_QUEUE_URL"]


class Data(BaseModel):
    model_config = ConfigDict(extra="allow")

    email_timestream: float | datetime


class Ingest(BaseModel):
    token: str
    data: Data


class Accepted(BaseModel):
    message: str
    message_id: str


app = FastAPI()
sqs = boto3.client("sqs")
_parameter = boto3.client("ssm").get_parameter(Name=os.environ["API_TOKEN_PARAMETER"], WithDecryption=True)
_token: str = _parameter["Parameter"]["Value"]


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/ingest", status_code=202)
def ingest(request: Ingest) -> Accepted:
    if not hmac.compare_digest(request.token.encode(), _token.encode()):
        raise HTTPException(401, "invalid token")
    body = json.dumps(request.data.model_dump(mode="json"))
    sent = sqs.send_message(QueueUrl=QUEUE_URL, MessageBody=body)
    return Accepted(message="Payload accepted and queued.", message_id=sent["MessageId"])
