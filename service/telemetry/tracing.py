"""Traces by OpenTelemetry, for those who configure an exporter; without one nothing of it is even imported.

    OTEL_EXPORTER_OTLP_ENDPOINT   where to send spans, such as http://127.0.0.1:4318, the port of a collector beside the task
    OTEL_TRACES_EXPORTER          otlp (the default with an endpoint), console, or none

The SDK reads its other variables itself (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
A request is one span, whatever its size; health checks make none. A call to AWS is one span. The calls run in threads that
serve many requests, and a batch carries the messages of many, so they are traces of their own and not parts of a request's.
The worker's puts make none: they don't go through botocore.

A request's trace is continued from a W3C ``traceparent``. A load balancer's ``X-Amzn-Trace-Id`` names no span to continue;
the log line has its root, and log line and span have the request id in common. Where callers send the X-Ray header with a
parent, ``OTEL_PROPAGATORS=xray,tracecontext`` continues either. Calls to AWS carry the X-Ray header of their own span, as
botocore's instrumentation does it.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

EXTRA = "service/requirements-otel.txt"
# The SDK itself would try for six seconds and more, of which a process that stops has two.
LAST_WORDS_SECONDS = 1.0
EXPORTERS = ("otlp", "console", "none")
# Of the attribute that a span and a log line have in common, as the semantic conventions name a header.
REQUEST_ID = "http.response.header.x-request-id"
# Matched against the whole URL. A check every few seconds of every task would be most of what is traced.
_HEALTH = r"^[a-z]+://[^/]*/health(check|/live)?(\?|$)"


def trace(app: ASGIApp, env: Mapping[str, str], *, provider: TracerProvider | None = None) -> ASGIApp:
    """``app`` with a span for each request, and spans for calls to AWS; ``app`` itself if no exporter is configured.

    ``provider`` replaces the one that ``env`` configures. Raises SettingsError.
    """
    provider = trace_calls(env, "api", provider=provider)
    if provider is None:
        return app
    from starlette.middleware.opentelemetry import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(_Labelled(app), excluded_urls=(_HEALTH,), tracer_provider=provider)


def trace_calls(
    env: Mapping[str, str], command: str, *, provider: TracerProvider | None = None
) -> TracerProvider | None:
    """Spans for calls to AWS, for a process that runs ``command``; None if no exporter is configured.

    ``provider`` replaces the one that ``env`` configures. Raises SettingsError.
    """
    provider = provider or _provider(env, command)
    if provider is not None:
        from opentelemetry.instrumentation.botocore import BotocoreInstrumentor

        BotocoreInstrumentor().instrument(tracer_provider=provider)  # type: ignore[no-untyped-call]
    return provider


class _Labelled:
    """Gives the span of a request the id that its log line has."""

    def __init__(self, app: ASGIApp) -> None:
        from opentelemetry.trace import get_current_span

        self.app = app
        self._span = get_current_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in message["headers"]:
                    if name == b"x-request-id":
                        self._span().set_attribute(REQUEST_ID, [value.decode("latin-1")])
            await send(message)

        await self.app(scope, receive, send_labelled)


def _provider(env: Mapping[str, str], command: str) -> TracerProvider | None:
    exporter = env.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    because = [name for name in ("OTEL_TRACES_EXPORTER", *endpoints) if env.get(name)]
    if not because or exporter == "none" or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if exporter and exporter not in EXPORTERS:
        raise SettingsError([f"OTEL_TRACES_EXPORTER is {exporter!r}; allowed: {', '.join(EXPORTERS)}"])
    protocol = (
        env.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or env.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    )
    if exporter != "console" and protocol != "http/protobuf":
        raise SettingsError([f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; allowed: http/protobuf"])
    try:
        import opentelemetry.instrumentation.botocore  # noqa: F401  before the first request needs it
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
    except ImportError as error:
        raise SettingsError(
            [
                f"{because[0]} is set, but {error.name} is not installed; install {EXTRA} as well "
                "(an image has it that was built with EXTRAS=otel, which tracingEndpoint sees to), or unset it"
            ]
        ) from None
    named = "OTEL_SERVICE_NAME" in env or SERVICE_NAME in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {SERVICE_NAME: command})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _shut_down_at_exit(provider)
    # Sends in a thread of its own, and what is left when the process ends.
    console = exporter == "console"
    chosen = ConsoleSpanExporter(out=sys.stdout, formatter=_one_line) if console else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(chosen))
    return provider


def _shut_down_at_exit(provider: TracerProvider) -> None:
    """Sends what is left when the process ends, and leaves it where nobody takes it soon."""
    asked, done = threading.Event(), threading.Event()

    def shut_down() -> None:
        asked.wait()
        provider.shutdown()
        done.set()

    def at_exit() -> None:
        asked.set()
        done.wait(LAST_WORDS_SECONDS)

    # Begun now: at its end, an interpreter begins no thread any more.
    threading.Thread(target=shut_down, name="tracing", daemon=True).start()
    atexit.register(at_exit)


def _one_line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
