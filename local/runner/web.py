"""Serves an ASGI application from the running event loop, beside everything else that lives there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any

import uvicorn

from local.runner.ports import RunnerError

_logger = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class WebServer:
    """One ASGI application on sockets that are bound already.

    It leaves the signals of the process alone, logs failures of the application only, adds no header and believes no
    X-Forwarded-For.
    """

    def __init__(
        self, application: Application, sockets: Sequence[socket.socket], *, keep_alive_seconds: int = 60
    ) -> None:
        self._sockets = list(sockets)
        self._application = application
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            loop="none",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",  # an application that cuts a response short means it
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=keep_alive_seconds,
        )
        self._config = config
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once connections are accepted."""
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)
        if self._serving.done():
            await self._serving

    async def stop(self, grace_seconds: float = 0) -> None:
        """Stops accepting, lets requests in flight end within the grace, cancels the rest."""
        if self._serving is None:
            return
        # 0 would mean cancelling before a response that is ready has been written.
        self._config.timeout_graceful_shutdown = max(grace_seconds, 0.1)  # type: ignore[assignment]
        self._server.leaving.set()
        serving, self._serving = self._serving, None
        await serving

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._application(scope, receive, send)
        except Exception:
            _logger.exception("%s %s failed", scope["method"], scope["path"])
            raise


class TaskEndpoint:
    """What tasks ask over HTTP: serves `_answer` on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._server: WebServer | None = None
        self._port = 0

    async def start(self) -> None:
        listening = bind(socket.AF_INET, "127.0.0.1", 0)
        self._port = listening.getsockname()[1]
        self._server = WebServer(self._answer, [listening])
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leaving = asyncio.Event()

    async def main_loop(self) -> None:
        # uvicorn's own looks ten times a second for signals and a new Date header, neither of which is used here.
        await self.leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # Whoever owns the event loop owns the signals; uvicorn's handlers would swallow its Ctrl-C.
        yield


def bind_local(port: int) -> list[socket.socket]:
    """Sockets bound to `port` (0: any free one) on 127.0.0.1 and, where the machine has it, on ::1.

    Both, because `localhost` may mean either, and answers of a stranger on the other one would be a riddle. Raises
    RunnerError when the port is taken.
    """
    first = bind(socket.AF_INET, "127.0.0.1", port)
    try:
        return [first, bind(socket.AF_INET6, "::1", first.getsockname()[1])]
    except RunnerError:
        first.close()
        if port:
            raise
        return bind_local(0)
    except OSError:
        return [first]  # no IPv6 on this machine: then localhost does not mean ::1 either


def bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    """A bound TCP socket. Raises RunnerError when the port is taken or needs privileges, OSError for all else."""
    # asyncio turns Nagle's algorithm off only for sockets that say they are TCP; with it a small response in two writes
    # waits 40 ms for the client's delayed acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise RunnerError(
                f"port {port} on {host} is in use: stop what listens there, or choose another one, as in make up PORT=9090"
            ) from error
        if error.errno == errno.EACCES:
            raise RunnerError(
                f"port {port} on {host} needs privileges: choose one of 1024 or above, as in make up PORT=9090"
            ) from error
        raise
    return bound
