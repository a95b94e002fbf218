"""How `make deploy` tells the running session what it has deployed: JSON lines over a loopback connection.

The client sends one line with the session's secret and the resources; the server answers lines of progress and a last one
with the outcome.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from local.deployment import Resources

Report = Callable[[str], None]
Apply = Callable[[Resources, Report], Awaitable[str | None]]

_LONGEST_LINE = 1 << 28


class NoSession(Exception):
    """No `make up` is running; the message says so."""


@dataclass(frozen=True)
class Session:
    """Where the running session is. `cloud_endpoint` is the embedded AWS."""

    pid: int
    control_port: int
    secret: str
    cloud_endpoint: str
    port: int

    def write(self, file: Path) -> None:
        partial = file.with_suffix(f".{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(asdict(self)))
        partial.replace(file)

    @classmethod
    def read(cls, file: Path) -> Session:
        """Raises NoSession when no session has written itself down, or it is gone."""
        try:
            session = cls(**json.loads(file.read_text()))
            os.kill(session.pid, 0)
        except (OSError, ValueError, TypeError):
            raise NoSession("nothing is running here: run `make up` in another terminal first") from None
        return session


class ControlServer:
    """`apply` brings the runner to the resources and returns what went wrong, if anything."""

    def __init__(self, apply: Apply) -> None:
        self._apply = apply
        self._server: asyncio.Server | None = None
        self.secret = secrets.token_urlsafe(32)

    async def start(self) -> int:
        """Listens on a free loopback port and returns it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_LINE)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            if not secrets.compare_digest(str(request.get("secret", "")), self.secret):
                return
            failure = await self._apply(request["resources"], lambda line: _send(writer, {"line": line}))
            _send(writer, {"done": True, "failure": failure})
            await writer.drain()
        except (ValueError, KeyError, ConnectionError):
            return
        finally:
            writer.close()


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(message).encode() + b"\n")


async def announce(session: Session, resources: Resources, report: Report) -> str | None:
    """Tells the session what was deployed and waits for the outcome: what went wrong, or None.

    Raises NoSession when it ends before the outcome is known.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", session.control_port, limit=_LONGEST_LINE)
    except OSError:
        raise NoSession("the running session does not answer: stop it and run `make up` again") from None
    try:
        _send(writer, {"secret": session.secret, "resources": list(resources)})
        await writer.drain()
        while line := await reader.readline():
            message = json.loads(line)
            if message.get("done"):
                failure = message["failure"]
                return None if failure is None else str(failure)
            report(str(message["line"]))
    finally:
        writer.close()
    raise NoSession("the session ended before the new tasks were in place")
