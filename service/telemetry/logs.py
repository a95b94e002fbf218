"""JSON lines on stdout: the one form in which this service speaks to whoever runs it.

Every log line has ``time`` (UTC, milliseconds), ``level``, ``logger`` and ``message``; a caller adds members with
``extra={"fields": {...}}``. Nothing logs tokens, bodies or file contents: no such value is ever handed to a logger.
Metrics are lines between them, see ``metrics``.

Lines are written by a thread of their own. Stdout is a pipe, and a reader that is slow, as a log driver in blocking
mode is when its service is away, must stop neither the event loop nor a request. What nobody reads for so long that it
fills the memory set aside for it is dropped, and a line says how much once there is a reader again. A process that is
killed loses the lines of its last few milliseconds; one that ends by itself writes them all.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from service.telemetry.metrics import Metrics

# Gathered for so long, lines go out in one call.
GATHER_SECONDS = 0.005
# Some 20 MB; more than that means that nobody reads them.
MOST_LINES = 50_000
# How long the end of the process waits for a reader.
CLOSE_SECONDS = 2.0


class Lines(Protocol):
    """Where lines go."""

    def write(self, line: str) -> None:
        """Takes one line, without its line feed. Does not block."""
        ...


class LineWriter:
    """Writes lines to a file descriptor, in order, from a thread of its own. Safe to use from several threads."""

    def __init__(
        self, descriptor: int, *, most_lines: int = MOST_LINES, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        self._descriptor = descriptor
        self._most_lines = most_lines
        self._gather_seconds = gather_seconds
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        lines = self._lines
        if len(lines) >= self._most_lines:
            self._drop(1)
            return
        lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def dropped(self) -> int:
        """How many lines were dropped that no line has told of yet."""
        return self._dropped

    def has_ended(self) -> bool:
        """Whether nothing is written any more."""
        return not self._thread.is_alive()

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Returns once every line is written, or after ``timeout_seconds`` if nobody reads them."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if not self._closing:
                time.sleep(self._gather_seconds)
            self._write_out()
            if self._closing and not self._lines:
                return

    def _write_out(self) -> None:
        gathered = []
        while self._lines:
            gathered.append(self._lines.popleft())
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            fields = {"lines": dropped}
            gathered.append(_line(time.time(), "error", "service.logs", "log lines were dropped, nobody reads", fields))
        left = memoryview("".join(f"{line}\n" for line in gathered).encode())
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # A full pipe that someone who shares it has set so. What comes meanwhile gathers, up to its bound.
                self._writable.poll()
            except OSError:
                # The reader has gone, or a disk is full. The line that tells of the dropped ones is none of them.
                self._drop(dropped + bytes(left).count(b"\n") - bool(dropped))
                return

    def _drop(self, lines: int) -> None:
        with self._lock:
            self._dropped += lines


class JsonFormatter(logging.Formatter):
    """One JSON object a record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", None) or {})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return _line(record.created, record.levelname.lower(), record.name, record.getMessage(), fields)


class LinesHandler(logging.Handler):
    """Hands records to ``lines``, formatted."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.lines = lines
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.lines.write(self.format(record))
        except Exception:
            self.handleError(record)


def configure(level: str, lines: Lines | None = None) -> Lines:
    """Sends every logger's records of ``level`` and above to ``lines``, by default stdout, as JSON lines."""
    if lines is None:
        lines = writer = LineWriter(sys.stdout.fileno())
        atexit.register(writer.close)
    root = logging.getLogger()
    root.handlers[:] = [LinesHandler(lines)]
    root.setLevel(level.upper())
    # These narrate every connection and credential look-up; their warnings still come through.
    for noisy in ("botocore", "boto3", "urllib3", "uvicorn", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    return lines


class MetricsReporter:
    """Writes what ``metrics`` has counted to ``lines`` every ``seconds``, and what is left when it is closed."""

    def __init__(self, metrics: Metrics, lines: Lines, seconds: float) -> None:
        self._metrics = metrics
        self._lines = lines
        self._seconds = seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def has_ended(self) -> bool:
        """Whether nothing is reported any more."""
        return not self._thread.is_alive()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            self._report()
        self._report()

    def _report(self) -> None:
        for line in self._metrics.lines():
            self._lines.write(line)


class Clock:
    """The time as log lines tell it; formats each second once."""

    def __init__(self) -> None:
        # One value, so that a second never meets the text of another one, whatever the threads do.
        self._last = (-1, "")

    def text(self, seconds: float) -> str:
        """An epoch time as ``2025-06-09T12:00:00.000Z``."""
        whole = int(seconds)
        second, text = self._last
        if whole != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._last = (whole, text)
        return f"{text}.{int((seconds - whole) * 1000):03d}Z"


clock = Clock()


def _line(seconds: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
    line = {"time": clock.text(seconds), "level": level, "logger": logger, "message": message, **fields}
    return json.dumps(line, default=str)
