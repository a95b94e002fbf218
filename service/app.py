"""Puts the API together: routes, the one error shape, and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from service.edge import Edge
from service.errors import InternalError, MethodNotAllowed, NoSpace, NotFound, Problem, to_response
from service.files import FileRoutes
from service.health import HealthRoutes, StorageProbe
from service.ingest import IngestRoutes
from service.lifecycle import Lifecycle
from service.queues import Outbox
from service.sender import Sender
from service.settings import ApiSettings
from service.storage import FileStore
from service.threads import Threads
from service.tokens import Tokens

# EFS answers EDQUOT for its own limits of a client: open files, users, locks.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Not a status of HTTP: it only ever reaches the log, since the client has gone.
CLIENT_GONE = 499


def create_app(
    settings: ApiSettings,
    *,
    store: FileStore,
    outbox: Outbox,
    tokens: Tokens,
    aws_threads: Threads,
    lifecycle: Lifecycle | None = None,
    probe: StorageProbe | None = None,
) -> ASGIApp:
    """The API as an ASGI application. ``store`` is prepared and ``tokens`` loaded already."""
    lifecycle = lifecycle or Lifecycle()
    probe = probe or StorageProbe(store.probe)
    file_threads = Threads("files", settings.files_threads)
    sender = Sender(outbox, aws_threads)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        refreshing = asyncio.create_task(tokens.keep_current())
        try:
            yield
        finally:
            refreshing.cancel()
            probe.close()
            # Waited for: the parts of uploads that were cut off are removed there.
            await asyncio.to_thread(file_threads.close)
            aws_threads.close(wait=False)

    app = Starlette(
        routes=[
            *HealthRoutes(probe, lifecycle).routes(),
            *FileRoutes(store, file_threads, tokens, settings).routes(),
            *IngestRoutes(sender, tokens).routes(),
        ],
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_exception,
            ClientDisconnect: _client_gone,
            OSError: _os_error,
            Exception: _unexpected,
        },
        lifespan=lifespan,
    )
    # A redirect is no answer to an upload: its body would have to be sent twice.
    app.router.redirect_slashes = False
    return Edge(app, lifecycle)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return to_response(error, request.state.request_id)


async def _http_exception(request: Request, error: Exception) -> Response:
    """What Starlette itself raises: 404 for an unknown path, 405 for a method that a path has not."""
    assert isinstance(error, HTTPException)
    problem: Problem
    if error.status_code == HTTPStatus.NOT_FOUND:
        problem = NotFound(f"There is nothing at {request.url.path!r}.")
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        problem = MethodNotAllowed(
            f"{request.method} is not possible here; allowed: {allowed}", headers={"Allow": allowed}
        )
    else:
        raise error
    return to_response(problem, request.state.request_id)


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _os_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in NO_SPACE:
        raise error
    return to_response(NoSpace("The storage is full; nothing was stored."), request.state.request_id)


async def _unexpected(request: Request, _error: Exception) -> Response:
    """Starlette raises the error again after this answer, and ``Edge`` logs it."""
    detail = "The request failed; the log has the reason under this instance."
    return to_response(InternalError(detail), request.state.request_id)
