"""Runs the API: start, serve, drain, stop.

On SIGTERM the health checks answer 503 at once, but new connections are taken for ``DRAIN_SECONDS`` more: a load
balancer goes on sending until its next checks have failed, and a listener that closed at once would refuse those
requests. Then the listener closes, requests under way get the rest of the stop timeout, and the process exits with 0.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import time
from types import FrameType

import uvicorn

from service.api.app import create_app
from service.aws.clients import Clients, error_code
from service.aws.queues import SqsOutbox
from service.files.store import FileStore
from service.http.health import Liveness
from service.http.lifecycle import Lifecycle
from service.http.refusals import refuse
from service.http.tokens import SsmParameter, Tokens
from service.server import Options, http_protocol
from service.settings import ApiSettings
from service.telemetry import logs
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import trace
from service.thread_pool import ThreadPool

# Calls to SQS at the same time.
SENDING_THREADS = 8
# A call to SQS ends within its timeouts and attempts, half a minute at most. One that takes longer is given up: whoever
# waits for it must have an answer before the load balancer's idle timeout (60 s by default).
SENDING_TIMEOUT_SECONDS = 45.0
# The same for the token: two calls to SSM, one after the other.
TOKEN_TIMEOUT_SECONDS = 60.0
# Kept back from the stop timeout, so that the process ends by itself and not by SIGKILL.
RESERVE_SECONDS = 2.0

_log = logging.getLogger("service.server")


class DrainingServer(uvicorn.Server):
    """A uvicorn server that drains before it stops, and does not end itself by the signal that it was sent."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds
        self._stop_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own handler closes the listener at once and raises the signal again at the end.
        if not self._lifecycle.draining:
            self._lifecycle.draining = True
            self._stop_at = time.monotonic() + self._drain_seconds
        elif not self.should_exit:
            self._stop_at = time.monotonic()
        else:
            self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)


def run_api(settings: ApiSettings) -> int:
    """Serves until SIGTERM. Returns the exit code: 0 after a clean stop, 1 if it could not start."""
    lines = logs.configure(settings.log_level)
    _allow_descriptors()
    store = FileStore(settings.files_dir)
    try:
        store.prepare()
    except OSError as error:
        _log.error("FILES_DIR can't be used", extra={"fields": {"files_dir": settings.files_dir, "reason": str(error)}})
        return 1
    clients = Clients(settings.region)
    aws_threads = ThreadPool("aws", SENDING_THREADS, bound_seconds=SENDING_TIMEOUT_SECONDS)
    outbox = SqsOutbox(clients.client("sqs", connections=SENDING_THREADS), settings.inbox_queue_url)
    parameter = SsmParameter(clients.client("ssm", connections=1), settings.api_token_parameter)
    tokens = Tokens(parameter, ThreadPool("token", 1, bound_seconds=TOKEN_TIMEOUT_SECONDS))
    try:
        tokens.load()
    except Exception as error:
        reason = {"parameter": settings.api_token_parameter, "code": error_code(error), "reason": str(error)}
        _log.error("the token in API_TOKEN_PARAMETER can't be read", extra={"fields": reason})
        return 1

    lifecycle = Lifecycle()
    liveness = Liveness()
    metrics = Metrics("api", namespace=settings.metrics_namespace)
    app = create_app(
        settings,
        store=store,
        outbox=outbox,
        tokens=tokens,
        aws_threads=aws_threads,
        lifecycle=lifecycle,
        liveness=liveness,
        metrics=metrics,
        lines=lines,
    )
    config = uvicorn.Config(
        trace(app, os.environ),
        host="0.0.0.0",
        port=settings.port,
        loop="uvloop",
        http=http_protocol(Options(stall_seconds=settings.files_stall_seconds, render=refuse)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=_graceful_seconds(settings),
    )
    server = DrainingServer(config, lifecycle, settings.drain_seconds)
    # What is loaded now stays; without this, every full collection walks the whole AWS SDK and stalls requests.
    gc.collect()
    gc.freeze()
    _log.info("starting", extra={"fields": {"port": settings.port, "files_auth": settings.files_auth}})
    reporter = logs.MetricsReporter(metrics, lines, settings.metrics_seconds)
    liveness.watch_end("the reporting of metrics", reporter.has_ended)
    if isinstance(lines, logs.LineWriter):
        liveness.watch_end("the writing of logs", lines.has_ended)
    server.run()
    reporter.close()
    _log.info("stopped")
    return 0


def _allow_descriptors() -> None:
    """As many as this process may have: a slow upload takes three, and many systems let a process begin with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # where no limit means another one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _graceful_seconds(settings: ApiSettings) -> int:
    return max(1, int(settings.stop_timeout_seconds - settings.drain_seconds - RESERVE_SECONDS))
