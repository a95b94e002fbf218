"""The API as a process: real sockets, real signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api import run
from service.http.tokens import Tokens
from service.thread_pool import ThreadPool
from tests.service.conftest import Aws
from tests.service.harness import LIVENESS_SECONDS, TOKEN, Process, settings, started, status, wait_until


def _env(aws: Aws, queue_url: str, files: Path) -> dict[str, str]:
    files.mkdir()
    return {
        **aws.env,
        "FILES_DIR": str(files),
        "FILES_AUTH": "none",
        "INBOX_QUEUE_URL": queue_url,
        "API_TOKEN_PARAMETER": "/test/api-token",
        "DRAIN_SECONDS": "0.5",
        "FILES_STALL_SECONDS": "60",
        "STOP_TIMEOUT_SECONDS": "15",
    }


@pytest.fixture
def env(aws: Aws, queue_url: str, tmp_path: Path) -> dict[str, str]:
    return _env(aws, queue_url, tmp_path / "files")


@pytest.fixture(scope="module")
def shared_env(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    queue_url = aws.client("sqs").create_queue(QueueName="run")["QueueUrl"]
    return _env(aws, queue_url, tmp_path_factory.mktemp("run") / "files")


@pytest.fixture(scope="module")
def running(shared_env: dict[str, str]) -> Iterator[Process]:
    log = Path(shared_env["FILES_DIR"]).with_name("log")
    with started("api", shared_env, log, ready="/healthcheck", measure=False) as found:
        yield found


@pytest.fixture
def server(running: Process) -> Iterator[Process]:
    """With ``shared_env``, and an empty store."""
    yield running
    for name in files(running):
        urllib.request.urlopen(urllib.request.Request(f"{running.url}/arquivos/{name}", method="DELETE")).close()


def post(server: Process, path: str, body: bytes, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIVENESS_SECONDS)
    connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def files(server: Process) -> list[str]:
    with urllib.request.urlopen(f"{server.url}/arquivos") as answer:
        return list(json.load(answer)["files"])


def parts(env: dict[str, str]) -> list[Path]:
    return list(Path(env["FILES_DIR"]).glob("incoming/*/*.part"))


def begin_upload(server: Process, sent: int, length: int = 10_000_000) -> socket.socket:
    """An upload of which ``sent`` bytes have been sent."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=LIVENESS_SECONDS)
    client.sendall(f"POST /arquivos HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    client.sendall(b"x" * sent)
    return client


def read_all(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def test_an_upload_and_an_ingest_go_all_the_way(server: Process, aws: Aws, shared_env: dict[str, str]) -> None:
    content = bytes(range(256)) * 20_000
    assert post(server, "/arquivos", content).status == 201
    (name,) = files(server)
    with urllib.request.urlopen(f"{server.url}/arquivos/{name}") as answer:
        assert answer.read() == content
    body = json.dumps({"token": TOKEN, "data": {"email_timestream": 1749465045, "é": "😀"}}).encode()
    accepted = post(server, "/ingest", body, Content_Type="application/json")
    assert accepted.status == 202
    (message,) = aws.client("sqs").receive_message(QueueUrl=shared_env["INBOX_QUEUE_URL"])["Messages"]
    assert json.loads(message["Body"]) == {"email_timestream": 1749465045, "é": "😀"}
    assert json.loads(accepted.content)["message_id"] == message["MessageId"]  # type: ignore[attr-defined]


def test_a_client_that_vanishes_leaves_nothing_and_is_no_fault(env: dict[str, str], tmp_path: Path) -> None:
    with started("api", env, tmp_path / "log") as server:
        with begin_upload(server, 1_000_000):
            wait_until(lambda: len(parts(env)) == 1)
        wait_until(lambda: parts(env) == [])
        wait_until(lambda: any(line["route"] == "/arquivos" for line in server.requests()))
        assert files(server) == []
        (line,) = (line for line in server.requests() if line["method"] == "POST")
        assert (line["status"], line["level"]) == (499, "info")
        assert server.stop() == 0
    assert all(line["level"] == "info" for line in server.lines())


def test_a_client_that_stalls_is_told_so_and_leaves_nothing(env: dict[str, str], tmp_path: Path) -> None:
    with started("api", {**env, "FILES_STALL_SECONDS": "1"}, tmp_path / "log", measure=False) as server:
        with begin_upload(server, 1_000_000) as client:
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
        assert b"connection: close" in answer.lower()
        wait_until(lambda: parts(env) == [])
        assert files(server) == []


def test_a_client_still_sending_hears_why_it_was_refused(env: dict[str, str], tmp_path: Path) -> None:
    length = 30_000_000
    with started("api", {**env, "FILES_MAX_BYTES": "1000"}, tmp_path / "log", measure=False) as server:
        with begin_upload(server, 0, length) as client:
            client.sendall(b"x" * length)  # a reset connection would break this
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:problem:too-large"


def _downloads(server: Process) -> list[dict[str, Any]]:
    return [line for line in server.requests() if line["request_id"] == "leaves"]


def test_a_client_that_leaves_a_download_does_not_have_it_read_to_the_end(server: Process) -> None:
    assert post(server, "/arquivos", bytes(64 * 1024 * 1024)).status == 201
    (name,) = files(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIVENESS_SECONDS) as client:
        client.sendall(f"GET /arquivos/{name} HTTP/1.1\r\nHost: x\r\nX-Request-ID: leaves\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    wait_until(lambda: len(_downloads(server)) == 1)
    (line,) = _downloads(server)
    assert line["bytes_out"] < 64 * 1024 * 1024
    assert line["level"] == "info"


def test_killed_in_the_middle_of_an_upload_nothing_of_it_is_ever_seen(env: dict[str, str], tmp_path: Path) -> None:
    with started("api", env, tmp_path / "first", measure=False) as server:
        assert post(server, "/arquivos", b"whole").status == 201
        stored = files(server)
        with begin_upload(server, 1_000_000):
            wait_until(lambda: len(parts(env)) == 1)
            server.stop(signal.SIGKILL)
    with started("api", env, tmp_path / "second", measure=False) as server:
        assert files(server) == stored


def test_two_processes_share_a_store(server: Process, shared_env: dict[str, str], tmp_path: Path) -> None:
    with started("api", shared_env, tmp_path / "other", measure=False) as other:
        for turn in range(4):
            assert post((server, other)[turn % 2], "/arquivos", b"x").status == 201
        assert files(server) == files(other)
        assert len(files(server)) == 4


def test_sigterm_drains_while_requests_go_on_and_exits_with_0(env: dict[str, str], tmp_path: Path) -> None:
    env = {**env, "DRAIN_SECONDS": "100", "STOP_TIMEOUT_SECONDS": "200"}
    with started("api", env, tmp_path / "log") as server, begin_upload(server, 500_000, 600_000) as upload:
        server.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{server.url}/healthcheck") == 503)
        for _ in range(20):
            answer = post(server, "/arquivos", b"late")
            assert answer.status == 201
            assert answer.getheader("Connection") == "close"
        server.popen.send_signal(signal.SIGTERM)  # that is enough
        wait_until(lambda: status(f"{server.url}/health/live") == 0)  # the listener has closed
        upload.sendall(b"x" * 100_000)
        assert read_all(upload).startswith(b"HTTP/1.1 201 ")
        assert server.popen.wait(LIVENESS_SECONDS) == 0
    assert server.lines()[-1]["message"] == "stopped"


def test_an_upload_that_outlasts_the_stop_timeout_is_cut_off_and_leaves_nothing(
    env: dict[str, str], tmp_path: Path
) -> None:
    env = {**env, "DRAIN_SECONDS": "0", "STOP_TIMEOUT_SECONDS": "3"}
    with started("api", env, tmp_path / "log") as server, begin_upload(server, 1_000_000) as client:
        wait_until(lambda: len(parts(env)) == 1)
        assert server.stop() == 0
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
    assert parts(env) == []


def test_a_second_signal_ends_the_drain(env: dict[str, str], tmp_path: Path) -> None:
    env = {**env, "DRAIN_SECONDS": "100", "STOP_TIMEOUT_SECONDS": "110"}
    with started("api", env, tmp_path / "log") as server:
        server.popen.send_signal(signal.SIGINT)
        wait_until(lambda: status(f"{server.url}/healthcheck") == 503)
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 60


def test_a_third_signal_ends_the_requests_under_way(env: dict[str, str], tmp_path: Path) -> None:
    env = {**env, "DRAIN_SECONDS": "100", "STOP_TIMEOUT_SECONDS": "200"}
    with started("api", env, tmp_path / "log") as server, begin_upload(server, 1000) as client:
        server.popen.send_signal(signal.SIGINT)
        wait_until(lambda: status(f"{server.url}/healthcheck") == 503)
        server.popen.send_signal(signal.SIGINT)
        wait_until(lambda: status(f"{server.url}/health/live") == 0)
        assert server.popen.poll() is None  # it waits for the upload
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 60
        with contextlib.suppress(ConnectionError):
            read_all(client)
    assert server.lines()[-1]["message"] == "stopped"


@pytest.mark.parametrize(
    ("change", "said"),
    [({"API_TOKEN_PARAMETER": "/test/absent"}, "ParameterNotFound"), ({"FILES_DIR": "/absent"}, "/absent")],
)
def test_a_start_that_can_not_succeed_fails_at_once_and_says_why(
    env: dict[str, str], tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(AssertionError, match=said), started("api", {**env, **change}, tmp_path / "log"):
        pass
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["level"] == "error"


def test_many_requests_on_one_connection_are_all_answered(server: Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIVENESS_SECONDS)
    for number in range(50):
        connection.request("POST", "/arquivos", b"x" * number * 100)
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 0) == (201, True)
    connection.close()
    assert len(files(server)) == 50


def test_uploads_at_once_are_all_stored(server: Process, shared_env: dict[str, str]) -> None:
    statuses: list[int] = []

    def upload() -> None:
        for _ in range(10):
            statuses.append(post(server, "/arquivos", b"x" * 200_000).status)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 80
    assert len(files(server)) == 80
    wait_until(lambda: parts(shared_env) == [])


def test_the_process_takes_as_many_descriptors_as_it_may(env: dict[str, str], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard if hard > 0 else soft) // 2, hard))
    try:
        with started("api", env, tmp_path / "log") as server:
            assert resource.prlimit(server.popen.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_read_of_the_token_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[ThreadPool] = []

    class Unread(Tokens):
        def load(self) -> None:
            pools.append(self._threads)
            raise ValueError("no token")

    monkeypatch.setattr(run, "Tokens", Unread)
    monkeypatch.setattr("service.telemetry.logs.configure", lambda _: None)
    monkeypatch.setattr(run, "_allow_descriptors", lambda: None)
    assert run.run_api(settings(tmp_path)) == 1
    assert [pool._bound_seconds for pool in pools] == [60]
