"""What whoever runs the service sees of it, and what nobody may see."""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError

from tests.service.conftest import Aws
from tests.service.harness import LIVENESS_SECONDS, TOKEN, Process, started, wait_until
from tests.service.seen import MARKER, Witness, check_emf, check_log, check_secrets, metrics

WRONG_TOKEN = "not-the-t0ken"
LINE = {"time": "2026-11-21T00:00:00.000Z", "level": "info", "logger": "service", "message": "m"}


def emf(**changes: Any) -> dict[str, Any]:
    directive = {
        "Namespace": "Service",
        "Dimensions": [["Route"]],
        "Metrics": [{"Name": "Latency", "Unit": "Milliseconds"}],
    }
    line = {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}, "Route": "/", "Latency": [1, 2.5]}
    return {**line, **changes}


def test_a_line_as_cloudwatch_describes_it_passes() -> None:
    check_emf(emf())
    check_emf(emf(Latency=3))
    assert metrics([LINE, emf(), emf(Latency=3)]) == {"Latency": [1, 2.5, 3]}


def directive(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = emf()["_aws"]["CloudWatchMetrics"][0]
    return {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{**whole, **changes}]}}


@pytest.mark.parametrize(
    "changes",
    [
        {"_aws": {"CloudWatchMetrics": []}},
        {"_aws": {"Timestamp": "now", "CloudWatchMetrics": []}},
        directive(Namespace=""),
        directive(Dimensions=[]),
        directive(Metrics=[{"Name": "Latency", "Unit": "ms"}]),
        directive(Metrics=[]),
        directive(Metrics=[{"Name": "Latency"}, {"Name": "Latency"}]),
        directive(Metrics=[{"Name": "Absent"}]),
        {"Latency": []},
        {"Latency": [0] * 101},
        {"Latency": ["1"]},
        {"Latency": True},
        {"Latency": float("nan")},
        {"Route": 1},
        {"Route": "x" * 1025},
    ],
)
def test_a_line_that_cloudwatch_would_drop_is_found(changes: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, AssertionError, KeyError)):
        check_emf(emf(**changes))


@pytest.mark.parametrize("line", ["plain text", "[]", '{"message": "no level"}', '{"a": NaN}'])
def test_a_line_that_is_no_log_line_is_found(line: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_log(line)


@pytest.mark.parametrize(
    "write",
    [
        str,
        json.dumps,
        lambda secret: json.dumps({"x": secret.encode().decode("latin-1")}),
        lambda secret: json.dumps({"x": str(secret.encode())}),
        lambda secret: f"before{secret}after",
    ],
)
def test_a_secret_is_found_however_it_is_written(write: Callable[[str], str]) -> None:
    check_secrets(write("something else"), TOKEN)
    for secret in (TOKEN, MARKER):
        with pytest.raises(AssertionError):
            check_secrets("first line\n" + write(secret), TOKEN)


def send(server: Process, method: str, path: str, body: bytes = b"", **headers: str | bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIVENESS_SECONDS)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_api_says_what_it_does_and_nothing_that_was_confided_to_it(
    aws: Aws, queue_url: str, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    env = {
        **aws.env,
        "FILES_DIR": str(tmp_path / "files"),
        "INBOX_QUEUE_URL": queue_url,
        "API_TOKEN_PARAMETER": "/test/api-token",
        "LOG_LEVEL": "debug",
        "METRICS_SECONDS": "1",
        "DRAIN_SECONDS": "0.5",
    }
    token = f"Bearer {TOKEN}".encode()
    data = {"email_timestream": 1749465045, MARKER: MARKER}
    json_type = "application/json"
    with started("api", env, tmp_path / "log") as server:
        content = MARKER.encode() * 1000
        assert send(server, "POST", "/arquivos", content, Authorization=token, Content_Type=f"x/{MARKER}") == 201
        assert send(server, "POST", "/arquivos", content, Authorization=f"Bearer {WRONG_TOKEN}") == 401
        digest = f"sha-256=:{MARKER}:"
        assert send(server, "POST", "/arquivos", content, Authorization=token, Content_Digest=digest) == 400
        assert send(server, "GET", f"/arquivos?after={MARKER}", Authorization=token) == 400
        assert send(server, "GET", f"/arquivos/{MARKER}", Authorization=token, Range=MARKER) == 404
        assert send(server, "GET", f"/{MARKER}?token={TOKEN.encode().hex()}") == 404
        for body, status in (
            (json.dumps({"token": TOKEN, "data": data}), 202),
            (json.dumps({"token": WRONG_TOKEN, "data": data}), 401),
            (json.dumps({"token": TOKEN, "data": {**data, "email_timestream": MARKER}}), 422),
            (json.dumps({"token": TOKEN, "data": MARKER}), 422),
            ('{"token": "' + TOKEN + '", ' + MARKER, 400),
        ):
            assert send(server, "POST", "/ingest", body.encode(), Content_Type=json_type) == status
        submitted = json.dumps({"token": TOKEN, **data}).encode()
        assert send(server, "POST", "/submit", submitted, Content_Type=json_type, Idempotency_Key="k") == 202
        assert send(server, "POST", "/submit", submitted, Content_Type=f"text/{MARKER}") == 415
        assert server.stop() == 0
    lines = check_log(server.log.read_text(), TOKEN, WRONG_TOKEN)
    requests = [line for line in lines if line.get("message") == "request" and line["route"] != "/health/live"]
    assert len(requests) == 13
    found = metrics(lines)
    assert {"Requests", "Latency", "BytesIn", "BytesOut", "QueueLatency", "BatchFill"} <= found.keys()
    assert sum(found["BytesIn"]) >= len(content)
    assert sum(found["Requests"]) >= 13


def test_the_worker_says_what_it_does_and_nothing_that_was_confided_to_it(
    aws: Aws, queue_url: str, tmp_path: Path
) -> None:
    aws.client("s3").create_bucket(Bucket="seen-emails")
    env = {
        **aws.env,
        "INBOX_QUEUE_URL": queue_url,
        "EMAILS_BUCKET": "seen-emails",
        "WORKER_WAIT_SECONDS": "1",
        "LOG_LEVEL": "debug",
        "METRICS_SECONDS": "1",
    }
    sqs = aws.client("sqs")
    for number in range(12):
        body = json.dumps({"email_timestream": time.time(), "number": number, MARKER: f"{MARKER} {number}"})
        sqs.send_message(QueueUrl=queue_url, MessageBody=body)
    sqs.send_message(QueueUrl=queue_url, MessageBody=f"{MARKER}: no JSON")
    with started("worker", env, tmp_path / "log") as worker:

        def stored() -> int:
            return sum(line.get("message") == "stored" for line in worker.lines())

        def refused() -> int:
            return sum(line.get("message") == "a message was not stored" for line in worker.lines())

        wait_until(lambda: stored() == 12 and refused() >= 1)
        assert worker.stop() == 0
    lines = check_log(worker.log.read_text(), TOKEN)
    found = metrics(lines)
    assert {"Received", "Stored", "WorkerLag", "PutLatency", "Failures", "Deleted"} <= found.keys()
    assert sum(found["Stored"]) == 12
    assert sum(found["Deleted"]) == 12
    assert sum(found["Received"]) >= 13


def test_a_witness_writes_down_what_this_process_logs() -> None:
    witness = Witness()
    logger = logging.getLogger("service.witnessed")
    logger.addHandler(witness)
    logger.propagate = False
    try:
        logger.warning("%s", "harmless", extra={"fields": {"count": 1}})
        witness.check(TOKEN)
        logger.warning("it", extra={"fields": {"body": MARKER}})
        with pytest.raises(AssertionError):
            witness.check(TOKEN)
    finally:
        logger.removeHandler(witness)
        logger.propagate = True
    assert [json.loads(line)["message"] for line in witness.lines] == ["harmless", "it"]
