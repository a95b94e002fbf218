"""No route makes a blocking call on the event loop.

blockbuster replaces the functions that block (files, sockets, locks, sleep) and raises where one is called in a thread
in which a loop runs. What it can't see, a call from C such as that of a system call by number, nobody makes here.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx

from service.files.downloads import PIECE_BYTES
from service.files.store import FileStore, Part
from tests.service.harness import TOKEN, Api, running_api

LARGE = 3 * PIECE_BYTES[1]
ABSENT = "01978a3b-2c1d-7000-8000-000000000000"


@pytest.fixture
def detector(tmp_path: Path) -> Iterator[BlockBuster]:
    """Active on every loop of this process, whatever code is below it."""
    with blockbuster_ctx() as found:
        yield found


@pytest.fixture
def watched(detector: BlockBuster, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Api]:
    with running_api(tmp_path) as api:
        yield api
    # In a task or a callback nobody hears of it but the log.
    assert BlockingError.__name__ not in caplog.text


def _ask(api: Api, method: str, target: str, expected: int, **more: Any) -> Any:
    answer = api.client.request(method, target, **more)
    assert answer.status_code == expected, (method, target, answer.text)
    return answer


def _ingest(api: Api, target: str, expected: int, content: object, **headers: str) -> None:
    headers = {"Content-Type": "application/json", **headers}
    _ask(api, "POST", target, expected, content=json.dumps(content).encode(), headers=headers)


async def _block() -> None:
    time.sleep(0.001)


async def _block_on_a_file() -> None:
    os.listdir()  # noqa: PTH208


@pytest.mark.usefixtures("detector")
def test_the_detector_finds_a_blocking_call(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        assert api.client.portal is not None
        for call in (_block, _block_on_a_file):
            with pytest.raises(BlockingError):
                api.client.portal.call(call)


def test_no_file_route_blocks_the_loop(watched: Api) -> None:
    for content in (b"", b"small", os.urandom(LARGE)):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = {"Content-Type": "text/plain", "Content-Digest": f"sha-256=:{digest}:"}
        target = _ask(watched, "POST", "/arquivos", 201, content=content, headers=headers).headers["location"]
        etag = _ask(watched, "HEAD", target, 200).headers["etag"]
        assert _ask(watched, "GET", target, 200).content == content
        _ask(watched, "GET", target, 304, headers={"If-None-Match": etag})
        _ask(watched, "GET", target, 412, headers={"If-Match": '"other"'})
        if content:
            _ask(watched, "GET", target, 206, headers={"Range": "bytes=1-3"})
            _ask(watched, "GET", target, 416, headers={"Range": f"bytes={len(content)}-"})
        _ask(watched, "GET", "/arquivos?limit=1", 200)
        _ask(watched, "GET", f"/arquivos?after={ABSENT}", 200)
        _ask(watched, "DELETE", target, 412, headers={"If-Match": '"other"'})
        _ask(watched, "DELETE", target, 204, headers={"If-Match": etag})
        _ask(watched, "DELETE", target, 404)
    # Generated, so sent in chunks and written while it arrives.
    _ask(watched, "POST", "/arquivos", 201, content=(os.urandom(100_000) for _ in range(20)))


def test_no_refusal_blocks_the_loop(watched: Api, tmp_path: Path) -> None:
    wrong = base64.b64encode(bytes(32)).decode()
    _ask(watched, "POST", "/arquivos", 400, content=b"x", headers={"Content-Digest": f"sha-256=:{wrong}:"})
    _ask(watched, "POST", "/arquivos", 400, content=b"x", headers={"Content-Type": "text/" + "x" * 600})
    for target in (f"/arquivos/{ABSENT}", "/arquivos/none", "/nowhere"):
        _ask(watched, "GET", target, 404)
    _ask(watched, "GET", "/arquivos?limit=0", 400)
    _ask(watched, "PUT", "/arquivos", 405)
    with running_api(tmp_path, files_max_bytes=10, files_auth="token") as strict:
        _ask(strict, "GET", "/arquivos", 401)
        _ask(strict, "GET", "/arquivos", 401, headers={"Authorization": "Bearer wrong"})
        _ask(strict, "POST", "/arquivos", 413, content=b"x" * 11, headers=strict.authorization)
        _ask(strict, "POST", "/arquivos", 413, content=iter([b"x" * 11]), headers=strict.authorization)


@pytest.mark.parametrize(("code", "expected"), [(errno.ENOSPC, 507), (errno.EIO, 503)])
@pytest.mark.usefixtures("detector")
def test_no_failure_of_the_storage_blocks_the_loop(tmp_path: Path, code: int, expected: int) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with running_api(tmp_path, store=FileStore(tmp_path, sync=fail)) as api:
        _ask(api, "POST", "/arquivos", expected, content=b"x")
        assert api.parts() == []


def test_no_ingest_route_blocks_the_loop(watched: Api) -> None:
    data = {"email_timestream": 1749465045}
    for target, content in (("/ingest", {"token": TOKEN, "data": data}), ("/submit", {"token": TOKEN, **data})):
        _ingest(watched, target, 202, content)
        _ingest(watched, target, 202, content, **{"Idempotency-Key": "one"})
        _ingest(watched, target, 401, {**content, "token": "wrong"})
        _ingest(watched, target, 422, {"token": TOKEN, "data": {"email_timestream": "never"}})
        _ask(watched, "POST", target, 415, content=b"x", headers={"Content-Type": "text/plain"})
        _ask(watched, "POST", target, 400, content=b"{", headers={"Content-Type": "application/json"})
    watched.queue.away = True
    _ingest(watched, "/ingest", 503, {"token": TOKEN, "data": data})


def test_no_other_route_blocks_the_loop(watched: Api) -> None:
    for target in ("/healthcheck", "/health", "/health/live", "/openapi.json", "/docs"):
        _ask(watched, "GET", target, 200)
    watched.lifecycle.draining = True
    _ask(watched, "GET", "/healthcheck", 503)


@pytest.mark.usefixtures("detector")
def test_a_blocking_call_in_a_route_is_told(tmp_path: Path) -> None:
    """What the tests above rest on: a route that blocks does not answer as it should."""

    class Blocking(FileStore):
        def begin(self, content_type: str, content_encoding: str = "") -> Part:
            os.stat(self.root)  # noqa: PTH116
            return super().begin(content_type, content_encoding)

    with running_api(tmp_path, store=Blocking(tmp_path)) as api:
        _ask(api, "POST", "/arquivos", 500, content=b"x")
