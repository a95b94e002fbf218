"""The container's health check: asks the process in the same container whether it lives.

A container runtime starts this every few seconds beside the service, so it speaks HTTP over a bare socket: importing an
HTTP client costs more than the whole check.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping

TIMEOUT_SECONDS = 4.0


def check(env: Mapping[str, str]) -> int:
    """Asks ``GET http://127.0.0.1:$PORT/health/live``. Returns 0 for an answer of 200 and 1 for anything else."""
    port = env.get("PORT", "8080")
    try:
        status = _status("127.0.0.1", int(port))
    except (OSError, ValueError) as error:
        print(f"service check: no answer from 127.0.0.1:{port}: {error}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"service check: 127.0.0.1:{port} answered {status}, expected 200", file=sys.stderr)
        return 1
    return 0


def _status(host: str, port: int) -> int:
    with socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = b""
        while b"\r\n" not in head:
            received = connection.recv(4096)
            if not received:
                raise ValueError("the connection was closed before an answer")
            head += received
    return int(head.split(b" ", 2)[1])
