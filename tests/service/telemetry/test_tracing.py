from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.testclient import TestClient

from service.settings import SettingsError
from service.telemetry.tracing import REQUEST_ID, trace, trace_calls
from tests.service.conftest import Aws
from tests.service.harness import ROOT, TOKEN, Api, started, status, wait_until
from tests.service.seen import MARKER, check_secrets

ROOT_ID = "1-67891233-abcdef012345678912345678"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    yield InMemorySpanExporter()
    BotocoreInstrumentor().uninstrument()  # type: ignore[no-untyped-call]


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    found = TracerProvider()
    found.add_span_processor(SimpleSpanProcessor(exporter))
    yield found
    found.shutdown()


@pytest.fixture
def client(api: Api, provider: TracerProvider) -> TestClient:
    # Without its lifespan, which the app under it has begun already, and in its event loop.
    found = TestClient(trace(api.client.app, {}, provider=provider), raise_server_exceptions=False)
    found.portal = api.client.portal
    return found


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_request_is_one_span_named_after_its_route(client: TestClient, exporter: InMemorySpanExporter) -> None:
    assert client.get("/arquivos/0197-no-such-name").status_code == 404
    span = only(exporter)
    assert (span.name, span.kind) == ("GET /arquivos/{name}", SpanKind.SERVER)
    assert attributes(span)["http.response.status_code"] == 404
    assert span.status.status_code is StatusCode.UNSET


def test_a_large_body_is_one_span_as_well(client: TestClient, exporter: InMemorySpanExporter) -> None:
    stored = client.post("/arquivos", content=iter([b"x" * 100_000] * 20))
    assert stored.status_code == 201
    assert only(exporter).name == "POST /arquivos"
    exporter.clear()
    assert len(client.get(stored.headers["location"]).content) == 2_000_000
    assert only(exporter).name == "GET /arquivos/{name}"


def test_health_checks_make_no_span(client: TestClient, exporter: InMemorySpanExporter) -> None:
    for path in ("/health", "/healthcheck", "/health/live", "/health?x=1"):
        assert client.get(path).status_code == 200
    assert exporter.get_finished_spans() == ()
    assert client.get("/healthy").status_code == 404
    assert len(exporter.get_finished_spans()) == 1


def test_a_fault_marks_its_span(api: Api, client: TestClient, exporter: InMemorySpanExporter) -> None:
    api.store.root = api.store.root / "absent" / "\0"
    assert client.get("/arquivos").status_code == 500
    span = only(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["http.response.status_code"] == 500


def test_a_span_and_the_log_line_have_the_request_id_in_common(
    client: TestClient, exporter: InMemorySpanExporter
) -> None:
    assert client.get("/arquivos", headers={"X-Request-ID": "abc"}).headers["x-request-id"] == "abc"
    assert attributes(only(exporter))[REQUEST_ID] == ("abc",)


def test_a_traceparent_is_continued(client: TestClient, exporter: InMemorySpanExporter) -> None:
    client.get("/arquivos", headers=PARENT)
    span = only(exporter)
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_the_header_of_a_load_balancer_begins_no_trace_and_stays_in_the_log(
    client: TestClient, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="service"):
        client.get("/arquivos", headers={"X-Amzn-Trace-Id": f"Root={ROOT_ID}"})
    assert only(exporter).parent is None
    (line,) = (vars(record)["fields"] for record in caplog.records if record.name == "service.request")
    assert line["trace_id"] == ROOT_ID


def test_no_token_and_no_content_is_in_a_span(client: TestClient, exporter: InMemorySpanExporter) -> None:
    headers = {b"Authorization": f"Bearer {TOKEN}".encode()}
    client.post("/arquivos", content=MARKER.encode() * 10, headers=headers)
    client.post("/ingest", json={"token": TOKEN, "data": {"email_timestream": 1, "x": MARKER}})
    client.post("/ingest", json={"token": TOKEN, "data": {"email_timestream": MARKER}})
    spans = exporter.get_finished_spans()
    assert len(spans) == 3
    for span in spans:
        check_secrets(span.to_json(indent=None), TOKEN)


def test_a_call_to_aws_is_a_span(aws: Aws, exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
    assert trace_calls({}, "worker", provider=provider) is provider
    aws.client("ssm").get_parameter(Name="/test/api-token", WithDecryption=True)
    span = only(exporter)
    assert (span.name, span.kind) == ("SSM.GetParameter", SpanKind.CLIENT)
    check_secrets(span.to_json(indent=None), TOKEN)


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    full = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}
    return subprocess.run([sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
    ],
)
def test_without_an_exporter_nothing_is_wrapped_and_nothing_imported(env: dict[str, str]) -> None:
    code = """
import os, sys
from service.api.run import run_api
from service.worker.run import run_worker
from service.telemetry.tracing import trace, trace_calls
app = object()
assert trace(app, os.environ) is app
assert trace_calls(os.environ, "worker") is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    done = run(code, **env)
    assert done.returncode == 0, done.stderr


def test_an_exporter_that_is_not_installed_stops_the_start_and_names_the_remedy(tmp_path: Path) -> None:
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").write_text("raise ModuleNotFoundError('none here', name='opentelemetry')")
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "AWS_REGION": "us-east-1",
        "INBOX_QUEUE_URL": "http://127.0.0.1:1/q",
        "EMAILS_BUCKET": "b",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "service", "worker"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    for word in ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry is not installed", "requirements-otel.txt", "unset"):
        assert word in done.stdout


def test_a_part_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"trace_exporter is not installed; install service/requirements-otel.txt"):
        trace_calls({"OTEL_TRACES_EXPORTER": "otlp"}, "api")


def test_without_an_exporter_the_app_is_the_app() -> None:
    app = Router()
    assert trace(app, {}) is app


def test_what_is_no_request_passes_through(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        seen.append("begun")
        yield
        seen.append("ended")

    async def live(_: object) -> Response:
        return Response()

    app = Starlette(routes=[Route("/health/live", live)], lifespan=lifespan)
    with TestClient(trace(app, {}, provider=provider)) as client:
        assert client.get("/health/live").status_code == 200
    assert seen == ["begun", "ended"]
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'; allowed: otlp, console, none"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "is 'grpc'; allowed: http/protobuf"),
    ],
)
def test_an_exporter_that_there_is_not_is_refused(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        trace_calls(env, "api")


def test_spans_on_the_console_are_one_json_line_each(
    exporter: InMemorySpanExporter, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, env in (("worker", {}), ("worker", {"OTEL_SERVICE_NAME": "mine"})):
        provider = trace_calls({"OTEL_TRACES_EXPORTER": "console", **env}, command)
        assert provider is not None
        for name in ("a", "b"):
            provider.get_tracer("test").start_span(name).end()
        provider.shutdown()
        BotocoreInstrumentor().uninstrument()  # type: ignore[no-untyped-call]
        spans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [span["name"] for span in spans] == ["a", "b"]
        # A name that the environment gives is for the SDK to read, from the environment itself.
        name = spans[0]["resource"]["attributes"]["service.name"]
        assert name == command if not env else name != command


def test_spans_go_to_the_collector_that_is_configured(exporter: InMemorySpanExporter) -> None:
    provider = trace_calls({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "api")
    assert provider is not None
    assert provider.resource.attributes["service.name"] == "api"
    provider.shutdown()


@pytest.fixture
def deaf_collector() -> Iterator[str]:
    """Connections are made to it and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_collector_that_does_not_answer_keeps_no_process_from_its_end(
    aws: Aws, queue_url: str, tmp_path: Path, deaf_collector: str
) -> None:
    with started(
        "api", _env(aws, queue_url, tmp_path, deaf_collector, STOP_TIMEOUT_SECONDS="60"), tmp_path / "log"
    ) as server:
        assert status(f"{server.url}/arquivos") == 200
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(60) == 0


def test_a_process_sends_its_spans_and_what_is_left_when_it_ends(
    aws: Aws, queue_url: str, tmp_path: Path, collector: tuple[str, list[tuple[str, bytes]]]
) -> None:
    url, received = collector
    env = _env(aws, queue_url, tmp_path, url)
    with started("api", env, tmp_path / "log") as server:
        assert status(f"{server.url}/arquivos") == 200
        assert server.stop() == 0
    wait_until(lambda: bool(received))
    assert {path for path, _ in received} == {"/v1/traces"}
    assert b"GET /arquivos" in b"".join(body for _, body in received)
    assert all(line["level"] == "info" for line in server.lines() if "level" in line)


def _env(aws: Aws, queue_url: str, tmp_path: Path, endpoint: str, **more: str) -> dict[str, str]:
    (tmp_path / "files").mkdir()
    return {
        **aws.env,
        "FILES_DIR": str(tmp_path / "files"),
        "FILES_AUTH": "none",
        "INBOX_QUEUE_URL": queue_url,
        "API_TOKEN_PARAMETER": "/test/api-token",
        "DRAIN_SECONDS": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        # Longer than the test: what arrives was sent at the end.
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        **more,
    }
