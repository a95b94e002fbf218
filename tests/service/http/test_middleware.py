from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from service.telemetry.logs import JsonFormatter
from tests.service.harness import TOKEN, Api, running_api


def requests(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.name == "service.request"]


def test_a_request_id_is_taken_answered_and_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = api.client.get("/health/live", headers={"X-Request-ID": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"
    assert requests(caplog)[0]["request_id"] == "abc-123"


@pytest.mark.parametrize("given", ["x" * 129, "a b", 'a"b', "", "é"])
def test_a_request_id_that_is_not_safe_is_replaced(api: Api, given: str) -> None:
    answer = api.client.get("/health/live", headers={b"X-Request-ID": given.encode()})
    assert len(answer.headers["x-request-id"]) == 32


def test_each_request_is_one_line_that_names_its_route_and_not_its_path(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    trace = {"X-Amzn-Trace-Id": "Self=1-2;Root=1-67891233-abcdef012345678912345678"}
    with caplog.at_level(logging.INFO):
        api.client.post("/arquivos", content=b"file content", headers=trace)
        api.client.get("/arquivos/secret-name")
    first, second = requests(caplog)
    assert first["ms"] >= 0
    assert {name: first[name] for name in ("route", "method", "status", "bytes_in", "trace_id")} == {
        "route": "/arquivos",
        "method": "POST",
        "status": 201,
        "bytes_in": 12,
        "trace_id": "1-67891233-abcdef012345678912345678",
    }
    assert first["bytes_out"] > 100
    assert (second["route"], second["status"]) == ("/arquivos/{name}", 404)


def test_no_token_body_or_name_is_ever_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="service"):
        json = {"token": TOKEN, "data": {"email_timestream": 1, "x": "private"}}
        api.client.post("/ingest", json=json)
        api.client.post("/ingest", json={**json, "token": "guess-me"})
        api.client.post("/arquivos", content=b"private")
        api.client.get("/arquivos?after=private", headers=api.authorization)
    text = "".join(f"{record.getMessage()} {vars(record).get('fields')}" for record in caplog.records)
    assert "request" in text
    for secret in (TOKEN, "guess-me", "private"):
        assert secret not in text


def test_connections_end_with_their_answer_while_draining(api: Api) -> None:
    assert "connection" not in api.client.get("/health/live").headers
    api.lifecycle.draining = True
    assert api.client.get("/health/live").headers["connection"] == "close"


def test_levels_tell_faults_from_refusals(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        api.client.get("/nope")
        api.lifecycle.draining = True
        api.client.get("/health")
        api.store.root = api.store.root / "absent" / "\0"
        api.client.get("/arquivos")
    levels = [record.levelname for record in caplog.records if record.name == "service.request"]
    assert levels == ["INFO", "WARNING", "ERROR"]
    assert caplog.records[-1].exc_info is not None


class Kept:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


def test_a_line_past_the_logging_library_is_the_line_that_it_would_have_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    headers = {"X-Request-ID": "a/b=c", "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"}
    with caplog.at_level(logging.INFO):
        for lines in (kept, None):
            with running_api(tmp_path, lines=lines) as api:
                api.client.get("/arquivos", headers=headers)
                api.client.request('M"SEARCH', "/nothing", headers=headers)
    formatter = JsonFormatter()
    made = [json.loads(formatter.format(record)) for record in caplog.records if record.name == "service.request"]
    written = [json.loads(line) for line in kept.lines]
    assert len(made) == len(written) == 2
    for one, other in zip(made, written, strict=True):
        assert list(one) == list(other)
        for name in set(one) - {"time", "ms"}:
            assert one[name] == other[name], name


def test_requests_below_the_level_are_not_written(tmp_path: Path) -> None:
    kept = Kept()
    log = logging.getLogger("service.request")
    log.setLevel(logging.WARNING)
    try:
        with running_api(tmp_path, lines=kept) as api:
            api.client.get("/arquivos")
            api.lifecycle.draining = True
            assert api.client.get("/health").status_code == 503
    finally:
        log.setLevel(logging.NOTSET)
    assert [json.loads(line)["level"] for line in kept.lines] == ["warning"]


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        (
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            "0af7651916cd43dd8448eb211c80319c",
        ),
        ({"traceparent": "nonsense"}, None),
        (
            {
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
            },
            "1-67891233-abcdef012345678912345678",
        ),
        ({"X-Amzn-Trace-Id": "nonsense"}, None),
    ],
)
def test_the_trace_is_the_load_balancers_or_the_callers(
    api: Api, caplog: pytest.LogCaptureFixture, headers: dict[str, str], trace: str | None
) -> None:
    with caplog.at_level(logging.INFO):
        api.client.get("/health/live", headers=headers)
    assert requests(caplog)[0]["trace_id"] == trace


def test_of_two_ids_or_parents_none_is_taken(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    parents = [f"00-{digit * 32}-b7ad6b7169203331-01" for digit in "ab"]
    with caplog.at_level(logging.INFO):
        twice = [("X-Request-ID", "a"), ("X-Request-ID", "b"), *(("traceparent", parent) for parent in parents)]
        answer = api.client.get("/health/live", headers=twice)
        later = {"traceparent": "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-of-a-later-version"}
        api.client.get("/health/live", headers=later)
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert [line["trace_id"] for line in requests(caplog)] == [None, "0af7651916cd43dd8448eb211c80319c"]


def test_a_transfer_coding_that_is_not_understood_is_501_and_no_fault_and_nothing_is_stored(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = api.client.post("/arquivos", content=iter([b"x"]), headers={"Transfer-Encoding": "gzip, chunked"})
    assert answer.status_code == 501
    assert [record.levelname for record in caplog.records if record.name == "service.request"] == ["INFO"]
    assert answer.json()["type"] == "urn:problem:not-implemented"
    lines = [("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]
    assert api.client.post("/arquivos", content=iter([b"x"]), headers=lines).status_code == 501
    assert api.client.get("/arquivos").json() == {"files": []}
