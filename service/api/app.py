"""Puts the API together: routes, what every request gets, and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.routing import Router
from starlette.types import ASGIApp

from service.aws.queues import Outbox
from service.files.heartbeat import HeartbeatThread
from service.files.parts import BEAT_SECONDS
from service.files.routes import FileRoutes
from service.files.store import FileStore
from service.http import openapi
from service.http.docs import DocsRoutes
from service.http.health import HealthRoutes, Liveness, StorageProbe
from service.http.lifecycle import Lifecycle
from service.http.malloc_trim import MallocTrim
from service.http.middleware import Middleware
from service.http.openapi import OpenApiRoutes
from service.http.tokens import Tokens
from service.ingest.batching import Batcher
from service.ingest.routes import IngestRoutes
from service.settings import ApiSettings
from service.telemetry.logs import Lines
from service.telemetry.metrics import Metrics
from service.thread_pool import CallHangs, PoolClosed, ThreadPool

_log = logging.getLogger("service.app")


def create_router(
    settings: ApiSettings,
    *,
    store: FileStore,
    outbox: Outbox,
    tokens: Tokens,
    aws_threads: ThreadPool,
    lifecycle: Lifecycle,
    metrics: Metrics,
    probe: StorageProbe | None = None,
    liveness: Liveness | None = None,
) -> Router:
    """The routes, and what has to run while they do."""
    liveness = liveness or Liveness()
    bound = settings.files_timeout_seconds
    readers = ThreadPool("readers", settings.files_threads, bound_seconds=bound)
    writers = ThreadPool("writers", settings.files_threads, bound_seconds=bound)
    malloc_trim = MallocTrim()
    probe = probe or StorageProbe(store.probe)
    probe.watch(readers, writers)
    sender = Batcher(outbox, aws_threads, metrics=metrics)
    ingest = IngestRoutes(sender, tokens, malloc_trim=malloc_trim)
    liveness.watch(readers.fault, writers.fault, probe.fault, aws_threads.fault, tokens.fault, ingest.threads.fault)
    # Calls to AWS end by their own timeouts, so that one that hangs is this process's fault. Not so with files: another
    # process would hang on the same mount.
    liveness.watch(aws_threads.all_hang)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        beside = {
            "the refresh of the token": asyncio.create_task(tokens.keep_current()),
            "the trimming of memory": asyncio.create_task(malloc_trim.keep_trim(writers)),
            "the removal of dead processes' parts": asyncio.create_task(_keep_clean(store, writers)),
        }
        for name, task in beside.items():
            task.add_done_callback(_report)
            liveness.watch_end(name, task.done)
        heartbeat = HeartbeatThread(store.beat, BEAT_SECONDS)
        heartbeat.start()
        liveness.watch_end("the heartbeat of uploads", heartbeat.has_ended)
        try:
            yield
        finally:
            for task in beside.values():
                task.cancel()
            probe.close()
            await asyncio.to_thread(heartbeat.close)
            # Waited for, within a bound: the parts of uploads that were cut off are removed there.
            with contextlib.suppress(PoolClosed):
                writers.forget(store.close)
            await asyncio.to_thread(writers.close)
            readers.close(wait=False)
            aws_threads.close(wait=False)
            tokens.close()
            ingest.threads.close(wait=False)

    description = openapi.describe(settings)
    files = FileRoutes(
        store, tokens, settings, readers=readers, writers=writers, metrics=metrics, malloc_trim=malloc_trim
    )
    return Router(
        # The busiest first: they are tried in order.
        [
            *files.routes(),
            *ingest.routes(),
            *HealthRoutes(probe, lifecycle, liveness).routes(),
            *OpenApiRoutes(description).routes(),
            *DocsRoutes(description).routes(),
        ],
        # A redirect is no answer to an upload: its body would have to be sent twice.
        redirect_slashes=False,
        lifespan=lifespan,
    )


async def _keep_clean(store: FileStore, threads: ThreadPool) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        try:
            await threads.run(store.clean)
        except (OSError, CallHangs) as error:
            _log.warning("parts of dead processes can't be looked for", extra={"fields": {"reason": str(error)}})


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a task beside the API has ended", exc_info=error)


def create_app(
    settings: ApiSettings,
    *,
    store: FileStore,
    outbox: Outbox,
    tokens: Tokens,
    aws_threads: ThreadPool,
    lifecycle: Lifecycle | None = None,
    probe: StorageProbe | None = None,
    liveness: Liveness | None = None,
    metrics: Metrics | None = None,
    lines: Lines | None = None,
) -> ASGIApp:
    """The API as an ASGI application. ``store`` is prepared and ``tokens`` loaded already."""
    lifecycle = lifecycle or Lifecycle()
    metrics = metrics or Metrics("api")
    router = create_router(
        settings,
        store=store,
        outbox=outbox,
        tokens=tokens,
        aws_threads=aws_threads,
        lifecycle=lifecycle,
        metrics=metrics,
        probe=probe,
        liveness=liveness,
    )
    return Middleware(router, lifecycle, metrics=metrics, lines=lines)
