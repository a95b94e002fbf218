"""Downloads through an application alone; over real connections they are tested with large files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from service.files.downloads import INLINE_BYTES, PIECE_BYTES, PIECES_BYTES, ZERO_COPY_SEND, Downloads, download
from service.files.record import DamagedFile, Record
from service.files.store import StoredFile
from service.http.conditions import ByteRange
from service.thread_pool import ThreadPool

CONTENT = os.urandom(5 * PIECE_BYTES[1] // 2)


@pytest.fixture
def file(tmp_path: Path) -> StoredFile:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return StoredFile("x", Record(len(CONTENT), "", ""), os.open(path, os.O_RDONLY), None)


class _Request:
    """What an application is called with. ``gone_after`` messages the client vanishes."""

    def __init__(self, *, sends_files: bool = False, gone_after: int = 1000) -> None:
        self.scope: dict[str, Any] = {"type": "http", "extensions": {ZERO_COPY_SEND: {}} if sends_files else {}}
        self.sent: list[Message] = []
        self._gone = asyncio.Event()
        self._gone_after = gone_after
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if len(self.sent) == self._gone_after:
            self._gone.set()
        await asyncio.sleep(0.01)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def _run(work: Callable[[ThreadPool], Coroutine[Any, Any, None]]) -> None:
    threads = ThreadPool("readers", 2)
    asyncio.run(work(threads))
    threads.close()


async def _download(file: StoredFile, span: ByteRange, threads: ThreadPool, request: _Request) -> None:
    await download(file, span, threads, Downloads(), 200, [], request.scope, request.receive, request.send)


@pytest.mark.parametrize("start", [0, 1, PIECE_BYTES[1], len(CONTENT) - 1])
def test_through_memory_every_byte_is_sent_once_and_the_file_closed(file: StoredFile, start: int) -> None:
    async def work(threads: ThreadPool) -> None:
        request = _Request()
        await _download(file, ByteRange(start, len(CONTENT)), threads, request)
        assert request.body == CONTENT[start:]
        assert [message.get("more_body") for message in request.sent][-1] is False
        assert max(len(message.get("body", b"")) for message in request.sent) <= PIECE_BYTES[1]

    _run(work)
    assert file.closed


def test_through_memory_little_is_read_for_a_client_that_has_gone(file: StoredFile) -> None:
    async def work(threads: ThreadPool) -> None:
        request = _Request(gone_after=2)
        await _download(file, ByteRange(0, len(CONTENT)), threads, request)
        assert len(request.sent) == 2

    _run(work)
    assert file.closed


@pytest.mark.parametrize(("start", "without_copy"), [(0, False), (1000, False), (1000, True)])
def test_a_file_that_cannot_be_read_is_told_before_the_status(
    file: StoredFile, start: int, without_copy: bool, tmp_path: Path
) -> None:
    """From its start on, without a copy, it has just been read by opening it."""

    async def work(threads: ThreadPool) -> None:
        request = _Request(sends_files=without_copy)
        with pytest.raises(DamagedFile):
            await _download(file, ByteRange(start, len(CONTENT)), threads, request)
        assert request.sent == []

    os.truncate(tmp_path / "content", 500 if start else 0)
    _run(work)
    assert file.closed


def test_many_downloads_share_the_memory_that_few_may_have() -> None:
    downloads = Downloads()
    assert downloads.piece_bytes == PIECE_BYTES[1]
    pieces = []
    for downloads.under_way in range(0, 5000, 7):
        pieces.append(downloads.piece_bytes)
        assert 2 * downloads.under_way * pieces[-1] <= max(PIECES_BYTES, 2 * downloads.under_way * PIECE_BYTES[0])
    assert pieces == sorted(pieces, reverse=True)
    assert pieces[-1] == PIECE_BYTES[0]


def test_less_is_read_whole_where_it_can_be_sent_without_a_copy() -> None:
    downloads = Downloads()
    can = _Request(sends_files=True)
    assert downloads.inline_bytes(can.scope) == INLINE_BYTES < downloads.inline_bytes(_Request().scope)
    downloads.under_way = 5000
    assert downloads.inline_bytes(can.scope) == downloads.inline_bytes(_Request().scope) == PIECE_BYTES[0]
    # A server that knows no extensions has no such key.
    assert downloads.inline_bytes({"type": "http"}) == PIECE_BYTES[0]


def test_a_file_that_the_server_finds_cut_short_is_damaged(file: StoredFile) -> None:
    async def work(threads: ThreadPool) -> None:
        class Cut(_Request):
            async def send(self, message: Message) -> None:
                if message["type"] == ZERO_COPY_SEND:
                    raise EOFError

        with pytest.raises(DamagedFile, match="cut short"):
            await _download(file, ByteRange(0, len(CONTENT)), threads, Cut(sends_files=True))

    _run(work)
    file.close()
