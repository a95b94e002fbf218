from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from service.http.check import check
from tests.service.harness import LIVENESS_SECONDS, ROOT, Api, free_port


def test_nobody_listening_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert check({"PORT": str(port)}) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_a_port_that_is_none_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert check({"PORT": "http"}) == 1
    assert "http" in capsys.readouterr().err


def test_a_connection_that_is_closed_without_an_answer_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=_read_and_close, args=(server,))
        closing.start()
        assert check({"PORT": str(server.getsockname()[1])}) == 1
        closing.join()
    assert "closed before an answer" in capsys.readouterr().err


def _read_and_close(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        assert connection.recv(1000)


def test_the_check_needs_nothing_but_the_standard_library(api: Api) -> None:
    script = "import sys; from service.__main__ import main; code = main(['check']); print(*sys.modules); exit(code)"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=LIVENESS_SECONDS
    )
    assert done.returncode == 1
    loaded = set(done.stdout.split())
    assert "service.http.check" in loaded
    assert not loaded & {"starlette", "boto3", "botocore", "uvicorn", "asyncio", "http.client", "service.settings"}
