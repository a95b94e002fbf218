from __future__ import annotations

import asyncio
import json
import statistics
import threading
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.http.health import StorageProbe
from service.http.lifecycle import Lifecycle
from service.http.middleware import Middleware
from service.telemetry.metrics import MOST_VALUES, UNITS, Metrics
from service.thread_pool import PoolClosed
from tests.service.harness import Api, running_api
from tests.service.seen import check_emf


def test_sums_are_exact_and_drained() -> None:
    metrics = Metrics("worker", clock=lambda: 1_749_465_045.5)
    for _ in range(1000):
        metrics.add("Stored")
    metrics.add("Received", 7)
    (line,) = metrics.lines()
    found = json.loads(line)
    check_emf(found)
    assert (found["Stored"], found["Received"], found["Command"]) == (1000, 7, "worker")
    assert found["_aws"]["Timestamp"] == 1_749_465_045_500
    assert metrics.lines() == []


def test_routes_are_a_dimension_and_have_a_line_each() -> None:
    metrics = Metrics("api", namespace="here")
    metrics.request("/arquivos", 12.5, 100, 200, failed=False)
    metrics.request("/arquivos", 2.5, 0, 10, failed=True)
    metrics.request("/ingest", 1.0, 1, 1, failed=False)
    metrics.add("UploadsAborted")
    lines = {line.get("Route"): line for line in map(json.loads, metrics.lines())}
    for line in lines.values():
        check_emf(line)
        assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "here"
    files = lines["/arquivos"]
    assert (files["Requests"], files["ServerErrors"], files["BytesIn"], files["BytesOut"]) == (2, 1, 100, 210)
    assert sorted(files["Latency"]) == [2.5, 12.5]
    assert files["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Command", "Route"]]
    assert lines["/ingest"]["Requests"] == 1
    assert lines[None]["UploadsAborted"] == 1
    assert lines[None]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Command"]]


def test_of_many_values_a_fair_share_is_kept() -> None:
    metrics = Metrics("api")
    for value in range(20_000):
        metrics.observe("QueueLatency", float(value))
    (line,) = map(json.loads, metrics.lines())
    check_emf(line)
    assert len(line["QueueLatency"]) == MOST_VALUES
    # Of the first hundred alone the mean would be 50, of the last 19,950; eight standard errors are allowed.
    assert abs(statistics.mean(line["QueueLatency"]) - 10_000) < 8 * 577


def test_every_metric_has_a_unit_that_cloudwatch_knows() -> None:
    for name in UNITS:
        metrics = Metrics("api")
        metrics.add(name)
        (line,) = map(json.loads, metrics.lines())
        check_emf(line)
        assert line["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": name, "Unit": UNITS[name]}]


def test_a_metric_without_a_unit_is_a_mistake_of_ours() -> None:
    metrics = Metrics("api")
    metrics.add("Typo")
    with pytest.raises(KeyError, match="Typo"):
        metrics.lines()


def test_threads_lose_no_count() -> None:
    metrics = Metrics("worker")

    def count() -> None:
        for _ in range(5000):
            metrics.add("Stored")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (line,) = map(json.loads, metrics.lines())
    assert line["Stored"] == 20_000


def test_requests_are_counted_by_route_with_what_they_carry(api: Api) -> None:
    answer = api.client.post("/arquivos", content=b"x" * 1000)
    api.client.get(answer.headers["location"])
    api.client.get("/nothing/here")
    lines = {line.get("Route"): line for line in map(json.loads, api.metrics.lines())}
    assert (lines["/arquivos"]["Requests"], lines["/arquivos"]["BytesIn"]) == (1, 1000)
    assert lines["/arquivos/{name}"]["BytesOut"] == 1000
    assert lines["none"]["Requests"] == 1
    assert all(line["ServerErrors"] == 0 for line in lines.values())


def test_an_answer_that_the_service_is_not_to_blame_for_is_no_server_error(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError(5, "Input/output error")

    with running_api(tmp_path, probe=StorageProbe(broken)) as api:
        assert api.client.get("/healthcheck").status_code == 503
        assert api.client.post("/arquivos", headers={"Transfer-Encoding": "gzip"}).status_code == 501
        api.lifecycle.draining = True
        assert api.client.get("/health").status_code == 503
        lines = {line.get("Route"): line for line in map(json.loads, api.metrics.lines())}
        assert {lines[route]["ServerErrors"] for route in ("/healthcheck", "/health", "none")} == {0}
        # Of a service that stops, too, a fault is one.
        api.store.root = tmp_path / "\0"
        assert api.client.get("/arquivos").status_code == 500
        (line,) = map(json.loads, api.metrics.lines())
        assert (line["Route"], line["ServerErrors"]) == ("/arquivos", 1)


@pytest.mark.parametrize("ended", [asyncio.CancelledError(), PoolClosed("closed")])
def test_a_request_that_the_end_of_the_service_cuts_short_is_no_server_error(ended: BaseException) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ended

    async def receive() -> Message:
        raise AssertionError("nothing is to be read")

    async def send(message: Message) -> None:
        sent.append(message)

    sent: list[Message] = []
    edge = Middleware(app, Lifecycle(draining=True))
    scope = {"type": "http", "method": "GET", "path": "/arquivos", "headers": [], "extensions": {}}
    asyncio.run(edge(scope, receive, send))
    (line,) = map(json.loads, edge.metrics.lines())
    assert (sent[0]["status"], line["Requests"], line["ServerErrors"]) == (503, 1, 0)
