"""The API in this process behind uvicorn: real connections, under either event loop."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from service.api.app import create_app
from service.files.store import FileStore
from service.http.refusals import refuse
from service.http.tokens import Tokens
from service.server import Options, http_protocol
from service.thread_pool import ThreadPool
from tests.service.harness import LIVENESS_SECONDS, TOKEN, settings, wait_until
from tests.service.memory import MemoryParameter, MemoryQueue

LoopName = Literal["asyncio", "uvloop"]


@dataclass
class Served:
    port: int
    store: FileStore
    handed_over: list[int]
    """How many bytes were sent without a copy, message by message."""
    received: list[int]
    """The sizes of the pieces of bodies that came through the server."""

    def add(self, size: int) -> tuple[str, bytes]:
        """Stores ``size`` random bytes; where they are found, and what they are."""
        content = os.urandom(size)
        part = self.store.begin("text/plain")
        stored = part.publish([content])
        part.discard()
        return f"/arquivos/{stored.file_id}", content


@contextlib.contextmanager
def live_api(
    root: Path, loop_name: LoopName, *, stock: bool = False, connection: Mapping[str, Any] | None = None, **changes: Any
) -> Iterator[Served]:
    """``connection`` changes the server's options, and ``changes`` the settings; ``stock`` takes uvicorn's own server."""
    root.mkdir()
    store = FileStore(root)
    store.prepare()
    threads = ThreadPool("aws", 2)
    tokens = Tokens(MemoryParameter(TOKEN), threads)
    tokens.load()
    found = settings(root, **changes)
    app = create_app(found, store=store, outbox=MemoryQueue(), tokens=tokens, aws_threads=threads)
    served = Served(0, store, [], [])

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def watched_receive() -> Message:
            message = await receive()
            served.received.append(len(message.get("body", b"")))
            return message

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.zerocopysend":
                served.handed_over.append(message["count"])
            await send(message)

        await app(scope, watched_receive, watched_send)

    options = Options(**{"stall_seconds": found.files_stall_seconds, "render": refuse, **(connection or {})})
    config = uvicorn.Config(
        watched,
        http="httptools" if stock else http_protocol(options),
        loop=loop_name,
        ws="none",
        lifespan="on",
        log_config=None,
        timeout_keep_alive=found.keep_alive_seconds,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.start()
        try:
            wait_until(lambda: server.started or not running.is_alive())
            served.port = listener.getsockname()[1]
            yield served
        finally:
            server.should_exit = True
            running.join(LIVENESS_SECONDS)
            assert not running.is_alive()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def _open() -> list[str]:
    found = []
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(os.readlink(number))  # noqa: PTH115  a socket's name is no path
    return found


def descriptors() -> int:
    return len(_open())


def sockets() -> int:
    return len([name for name in _open() if name.startswith("socket:")])


def requests(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "service.request"]
