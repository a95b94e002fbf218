"""The heartbeats of a worker's threads, and the small HTTP server through which a health check feels them."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A call to AWS ends within its timeouts and attempts, half a minute at most; more silence than this means that it hangs.
SILENCE_SECONDS = 90.0


class Heartbeat:
    """Beats while the thread that matters goes on. ``name`` says in an answer which one is silent."""

    def __init__(
        self, fresh_seconds: float, clock: Callable[[], float] = time.monotonic, *, name: str = "the poll loop"
    ) -> None:
        self.name = name
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        self._last = self._clock()

    def rest(self) -> None:
        """Until the next beat silence is no bad sign: there is nothing to do."""
        self._last = math.inf

    @property
    def age_seconds(self) -> float:
        return self._clock() - self._last

    @property
    def fresh(self) -> bool:
        return self.age_seconds < self._fresh_seconds


class LivenessServer:
    """Answers ``GET /health/live`` on 127.0.0.1: 200 while every heartbeat is fresh, else 503."""

    def __init__(self, port: int, *heartbeats: Heartbeat) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                if self.path != "/health/live":
                    self._answer(404, b'{"status":404,"title":"Not found"}', "application/problem+json")
                elif silent := sorted({heartbeat.name for heartbeat in heartbeats if not heartbeat.fresh}):
                    detail = f"silent: {', '.join(silent)}"
                    problem = {"status": 503, "title": "Service unavailable", "detail": detail}
                    self._answer(503, json.dumps(problem).encode(), "application/problem+json")
                else:
                    self._answer(200, b'{"status":"ok"}', "application/json")

            def _answer(self, status: int, body: bytes, media_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """A check every few seconds is not worth a line."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="liveness", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
