from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from local.cloud_process import CloudFailed, CloudProcess


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CloudFailed, match=f"port {port} on 127.0.0.1: .*AWS_PORT=") as raised:
            CloudProcess.start(tmp_path, region="us-east-1", port=port)
    assert "Traceback" not in str(raised.value)


def test_it_ends_with_the_process_that_started_it(own_cloud: CloudProcess) -> None:
    # What closes this end of the pipe is that process's end, whatever it dies of.
    assert own_cloud.process.stdin is not None
    own_cloud.process.stdin.close()
    assert own_cloud.process.wait(10) == 0


def test_the_control_requests_are_three(shared_cloud: CloudProcess) -> None:
    with urllib.request.urlopen(f"{shared_cloud.endpoint_url}/_local/health") as answer:
        assert json.load(answer) == {"status": "ok"}
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{shared_cloud.endpoint_url}/_local/reset")
    assert raised.value.code == 404
    raised.value.close()
