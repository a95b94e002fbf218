"""Runs the worker: start, work, stop.

On SIGTERM the worker stops, and has most of the stop timeout for it. The process exits with 0 then, also when calls hang:
what it has stored and what it has handed back is safe, and the rest comes back by its visibility timeout.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from service.aws.bucket import S3Bucket
from service.aws.clients import Clients
from service.aws.queues import SqsInbox
from service.settings import WorkerSettings
from service.telemetry import logs
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import trace_calls
from service.worker.heartbeat import LivenessServer
from service.worker.protection import Protection, Protector
from service.worker.worker import DELETING_THREADS, Worker, polls_at_once

# Kept back from the stop timeout for what comes after the worker: its last metrics, log lines and spans.
RESERVE_SECONDS = 5.0
# Before the end of the stop timeout the process ends, whatever hangs.
LAST_SECONDS = 1.0

_log = logging.getLogger("service.worker")


def run_worker(settings: WorkerSettings) -> int:
    """Works until SIGTERM. Returns the exit code: 0 after a clean stop."""
    lines = logs.configure(settings.log_level)
    metrics = Metrics("worker", namespace=settings.metrics_namespace)
    trace_calls(os.environ, "worker")
    clients = Clients(settings.region)
    polls = polls_at_once(settings.concurrency)
    inbox = SqsInbox(
        clients.client("sqs", connections=polls, read_timeout_seconds=settings.wait_seconds + 10, attempts=2),
        clients.client("sqs", connections=DELETING_THREADS + 8),
        settings.inbox_queue_url,
        wait_seconds=settings.wait_seconds,
        visibility_seconds=settings.visibility_timeout_seconds,
    )
    worker = Worker(
        inbox,
        S3Bucket(clients, settings.emails_bucket),
        prefix=settings.emails_prefix,
        concurrency=settings.concurrency,
        visibility_seconds=settings.visibility_timeout_seconds,
        stop_seconds=settings.stop_timeout_seconds - min(RESERVE_SECONDS, settings.stop_timeout_seconds / 4),
        metrics=metrics,
    )
    protector = Protector(settings.agent_url, Protection(), lambda: worker.in_work) if settings.agent_url else None
    last_seconds = min(LAST_SECONDS, settings.stop_timeout_seconds / 10)
    _stop_on_signals(worker.stop, settings.stop_timeout_seconds - last_seconds)
    liveness = LivenessServer(settings.port, *worker.heartbeats)
    liveness.start()
    if protector:
        protector.start()
    # What is loaded now stays; without this, every full collection walks the whole AWS SDK.
    gc.collect()
    gc.freeze()
    _log.info("starting", extra={"fields": {"concurrency": settings.concurrency, "port": settings.port}})
    reporter = logs.MetricsReporter(metrics, lines, settings.metrics_seconds)
    ended = worker.run()
    reporter.close()
    if protector:
        protector.close()
    liveness.close()
    _log.info("stopped")
    if not ended:
        _exit_beside_threads()
    return 0


def _stop_on_signals(stop: Callable[[], None], seconds: float) -> None:
    """Calls ``stop`` at the first signal, and ends the process with 0 if it still runs ``seconds`` later."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # A handler runs between any two steps of the main thread, which may hold the very lock that stop() takes;
        # this call is one that Python lets a handler make.
        signals.put(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    threading.Thread(target=_watch, args=(signals, stop, seconds), name="signals", daemon=True).start()


def _watch(
    signals: queue.SimpleQueue[int], stop: Callable[[], None], seconds: float, end: Callable[[int], object] = os._exit
) -> None:
    signals.get()
    stop()
    time.sleep(seconds)
    end(0)


def _exit_beside_threads() -> None:
    """Ends the process with 0 though threads of it hang.

    By returning it might end with SIGABRT: before Python 3.14, a thread that comes back out of Rust, as from the bucket,
    while the interpreter ends is unwound there. https://github.com/PyO3/pyo3/issues/6084
    """
    atexit._run_exitfuncs()
    os._exit(0)
