"""SIGTERM under full load: whoever behaves as a load balancer does sees no failed request, and nothing accepted is lost.

A balancer asks the health check, opens no new connection some time after it has failed, and leaves a connection when
the answer on it says ``Connection: close``. Stubborn clients go on until nobody listens; they may find a connection
closed before their request was read, which no server can prevent, but never a request half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.service.conftest import Aws
from tests.service.file_server import check_whole, file_env, listed, parts
from tests.service.harness import LIVENESS_SECONDS, PROBLEM, TOKEN, Process, started
from tests.service.raw_http import Answer, ask, head, read_answer

# More than a test takes on any machine: a second signal ends the drain.
DRAIN_SECONDS = 100.0
STOP_TIMEOUT_SECONDS = 200.0
KINDS = ("upload", "download", "ingest")
SLOW_CONTENT = os.urandom(16 * 1024 * 1024)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def server(aws: Aws, queue_url: str, tmp_path: Path) -> Iterator[Process]:
    env = file_env(
        aws,
        tmp_path / "files",
        INBOX_QUEUE_URL=queue_url,
        DRAIN_SECONDS=DRAIN_SECONDS,
        STOP_TIMEOUT_SECONDS=STOP_TIMEOUT_SECONDS,
    )
    with started("api", env, tmp_path / "log", ready="/healthcheck") as found:
        yield found


@dataclass
class _Load:
    port: int
    file_id: str
    unready: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    stored: dict[str, str] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    after_unready: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    asked_to_close: int = 0

    async def balanced(self, kind: str, *, keep_alive: bool) -> None:
        """One request after the other. Any that fails ends the test."""
        streams: Streams | None = None
        while not self.leave.is_set():
            streams = streams or await self._connect()
            answer = await self._exchange(streams, kind)
            if answer.closes or not keep_alive:
                await _close(streams)
                streams = None
        if streams:
            await _close(streams)

    async def stubborn(self, kind: str) -> None:
        """The same on and on, until no connection can be opened any more."""
        while True:
            try:
                streams = await self._connect()
            except ConnectionError:
                return
            try:
                while not (await self._exchange(streams, kind)).closes:
                    pass
            except (OSError, asyncio.IncompleteReadError) as error:
                # Closed before a byte of an answer: with the listener, or the failure is one.
                assert getattr(error, "partial", b"") == b"", error
                self.unanswered[kind] += 1
                with pytest.raises(ConnectionError):
                    await _close(await self._connect())
                return
            finally:
                await _close(streams)

    async def balancer(self) -> None:
        """Notices that the process drains, and takes its time to act upon it: with ECS, until the target is deregistered."""
        while (await self._healthcheck()).status == 200:
            await asyncio.sleep(0.05)
        self.unready.set()
        while min(self.after_unready[kind] for kind in KINDS) < 10:
            await asyncio.sleep(0.05)
        assert (await self._healthcheck()).status == 503
        self.leave.set()

    async def slow_upload(self) -> None:
        """Under way before the signal, finished well after the listener has closed."""
        streams = reader, writer = await self._connect()
        half = len(SLOW_CONTENT) // 2
        writer.write(head("POST", "/arquivos", len(SLOW_CONTENT)) + SLOW_CONTENT[:half])
        await self.closed()
        writer.write(SLOW_CONTENT[half:])
        await writer.drain()
        self._took("upload", await read_answer(reader), SLOW_CONTENT)
        await _close(streams)

    async def slow_download(self, file_id: str) -> None:
        streams = reader, writer = await self._connect()
        writer.write(head("GET", f"/arquivos/{file_id}"))
        await self.closed()
        assert check_whole(await read_answer(reader)) == hashlib.sha256(SLOW_CONTENT).hexdigest()
        await _close(streams)

    async def closed(self) -> None:
        """Until nobody listens any more."""
        with contextlib.suppress(ConnectionError):
            while True:
                await _close(await self._connect())
                await asyncio.sleep(0.05)

    async def _connect(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _healthcheck(self) -> Answer:
        streams = reader, writer = await self._connect()
        writer.write(head("GET", "/healthcheck", Connection="close"))
        answer = await read_answer(reader, "GET")
        await _close(streams)
        return answer

    async def _exchange(self, streams: Streams, kind: str) -> Answer:
        reader, writer = streams
        late = self.unready.is_set()
        content = os.urandom(8) * 2_000
        if kind == "upload":
            writer.write(head("POST", "/arquivos", len(content)) + content)
        elif kind == "ingest":
            body = json.dumps({"token": TOKEN, "data": {"email_timestream": 1749465045}}).encode()
            writer.write(head("POST", "/ingest", len(body), Content_Type="application/json") + body)
        else:
            writer.write(head("GET", f"/arquivos/{self.file_id}"))
        await writer.drain()
        answer = await read_answer(reader)
        self._took(kind, answer, content)
        self.after_unready[kind] += late
        self.asked_to_close += answer.closes
        return answer

    def _took(self, kind: str, answer: Answer, content: bytes) -> None:
        if kind == "upload":
            assert answer.status == 201, answer
            self.stored[answer.json()["id"]] = hashlib.sha256(content).hexdigest()
        elif kind == "ingest":
            assert answer.status == 202, answer
            self.accepted.add(answer.json()["message_id"])
        else:
            check_whole(answer)


async def _close(streams: Streams) -> None:
    streams[1].close()
    with contextlib.suppress(OSError):
        await streams[1].wait_closed()


def test_sigterm_under_full_load_fails_no_request_loses_nothing_and_ends_with_0(
    server: Process, aws: Aws, queue_url: str, tmp_path: Path
) -> None:
    file_id = ask(server.port, "POST", "/arquivos", b"downloaded again and again" * 5_000).json()["id"]
    slow_id = ask(server.port, "POST", "/arquivos", SLOW_CONTENT).json()["id"]
    load = _Load(server.port, file_id)

    async def run() -> float:
        balanced = [load.balanced(kind, keep_alive=keep_alive) for kind in KINDS for keep_alive in (True, False, True)]
        others = [*(load.stubborn(kind) for kind in KINDS), load.slow_upload(), load.slow_download(slow_id)]
        async with asyncio.timeout(3 * LIVENESS_SECONDS), asyncio.TaskGroup() as group:
            for one in others:
                group.create_task(one)
            behave = [group.create_task(one) for one in balanced]
            balancer = group.create_task(load.balancer())
            while min(len(load.stored), len(load.accepted)) < 20:
                await asyncio.sleep(0.05)
            server.popen.terminate()
            await asyncio.gather(balancer, *behave)
            server.popen.terminate()
            signalled = time.monotonic()
        return signalled

    signalled = asyncio.run(run())
    assert server.popen.wait(LIVENESS_SECONDS) == 0
    assert time.monotonic() - signalled < STOP_TIMEOUT_SECONDS - DRAIN_SECONDS

    assert load.asked_to_close > 0
    assert [line for line in server.lines() if line.get("message") == "stopped"]
    # The health check's own answers are the only ones of this kind.
    failed = [line for line in server.requests() if line["status"] >= 500 and line["route"] != "/healthcheck"]
    assert failed == []
    assert parts(tmp_path / "files") == []

    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    queued = int(attributes["ApproximateNumberOfMessages"])
    assert len(load.accepted) <= queued <= len(load.accepted) + load.unanswered["ingest"]
    with started("api", file_env(aws, tmp_path / "files"), tmp_path / "again", measure=False) as again:
        found = set(listed(again.port, limit=1000))
        assert set(load.stored) <= found
        assert len(found - set(load.stored) - {file_id, slow_id}) <= load.unanswered["upload"]
        for stored_id, digest in load.stored.items():
            assert check_whole(ask(again.port, "GET", f"/arquivos/{stored_id}")) == digest


def test_while_it_drains_new_connections_are_served_and_told_to_leave(server: Process) -> None:
    with contextlib.suppress(ConnectionRefusedError):
        server.popen.terminate()
        signalled = time.monotonic()
        while ask(server.port, "GET", "/healthcheck").status == 200:
            assert time.monotonic() - signalled < DRAIN_SECONDS
        for method, target, body, expected in [
            ("POST", "/arquivos", b"late", 201),
            ("GET", "/arquivos", b"", 200),
            ("GET", "/health/live", b"", 200),
            ("GET", "/health", b"", 503),
            ("GET", "/nowhere", b"", 404),
        ]:
            answer = ask(server.port, method, target, body)
            assert (answer.status, answer.closes) == (expected, True)
            if expected >= 400:
                assert answer.headers["content-type"] == PROBLEM
        assert time.monotonic() - signalled < DRAIN_SECONDS, "too slow a machine to tell"
        server.popen.terminate()
    assert server.popen.wait(LIVENESS_SECONDS) == 0
