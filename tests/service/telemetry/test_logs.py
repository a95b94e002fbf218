from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from service.telemetry import logs
from service.telemetry.logs import Clock, LineWriter, MetricsReporter
from service.telemetry.metrics import Metrics
from tests.service.harness import LIVENESS_SECONDS, ROOT, wait_until


class Kept:
    """Lines in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def kept() -> Iterator[Kept]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = Kept()
    logs.configure("info", kept)
    yield kept
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_record_is_one_json_line_with_its_fields(kept: Kept) -> None:
    logging.getLogger("service.test").warning("two\nlines %s", "é", extra={"fields": {"status": 201}})
    assert len(kept.lines) == 1
    line = json.loads(kept.lines[0])
    assert "\n" not in kept.lines[0]
    assert line["message"] == "two\nlines é"
    assert (line["level"], line["logger"], line["status"]) == ("warning", "service.test", 201)
    assert line["time"].endswith("Z")


def test_a_traceback_stays_on_the_line(kept: Kept) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("service.test").exception("failed")
    (line,) = kept.lines
    assert "ValueError: why" in json.loads(line)["traceback"]


def test_lower_levels_and_chatter_of_libraries_are_left_out(kept: Kept) -> None:
    logging.getLogger("service.test").debug("detail")
    logging.getLogger("botocore.credentials").info("found credentials")
    assert kept.lines == []


def test_a_record_that_can_not_be_formatted_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    kept = Kept()
    handler = logs.LinesHandler(kept)
    for message, argument in (("%d", "no number"), ("%s", "next")):
        handler.handle(logging.LogRecord("service.test", logging.INFO, "", 0, message, (argument,), None))
    assert [json.loads(line)["message"] for line in kept.lines] == ["next"]
    assert "no number" in capsys.readouterr().err


def test_the_time_of_a_line_is_in_utc_with_milliseconds() -> None:
    clock = Clock()
    assert clock.text(1_749_465_045.25) == "2025-06-09T10:30:45.250Z"
    assert clock.text(1_749_465_045.999) == "2025-06-09T10:30:45.999Z"
    assert clock.text(0.0) == "1970-01-01T00:00:00.000Z"


def test_lines_are_written_whole_and_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = LineWriter(file.fileno())

        def write(thread_number: int) -> None:
            for number in range(2000):
                writer.write(f"{thread_number} {number}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 8000
    for thread_number in range(4):
        mine = [int(line.split()[1]) for line in lines if line.startswith(f"{thread_number} ")]
        assert mine == list(range(2000))


def test_a_line_is_written_without_waiting_for_more(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = LineWriter(file.fileno())
        for number in range(3):
            writer.write(f"line {number}")
            expected = "".join(f"line {written}\n" for written in range(number + 1))
            wait_until(partial(_is, path, expected))
        writer.close()


def _is(path: Path, expected: str) -> bool:
    return path.read_text() == expected


def test_a_reader_that_stops_reading_holds_nobody_up_and_is_told_what_it_missed() -> None:
    reader, end = os.pipe()
    writer = LineWriter(end, most_lines=100)
    for _ in range(20_000):
        writer.write("x" * 100)
    writer.close(timeout_seconds=0.1)  # returns although the pipe is full
    content = b""

    def read() -> None:
        nonlocal content
        while piece := os.read(reader, 65536):
            content += piece

    thread = threading.Thread(target=read)
    thread.start()
    writer.write("last")
    wait_until(lambda: b"dropped" in content)
    os.close(end)
    thread.join()
    os.close(reader)
    told = [json.loads(line) for line in content.decode().splitlines() if line.startswith("{")]
    assert sum(line["lines"] for line in told) + content.count(b"x" * 100 + b"\n") >= 20_000


def test_a_pipe_that_does_not_block_loses_no_line_to_a_slow_reader() -> None:
    reader, end = os.pipe()
    os.set_blocking(end, False)
    writer = LineWriter(end)
    for number in range(20_000):
        writer.write(f"{number:0100}")
    writer.close(timeout_seconds=0.1)  # the pipe is full: the rest waits in the thread
    content = b""
    while content.count(b"\n") < 20_000:
        content += os.read(reader, 65536)
    writer.close()
    os.close(end)
    os.close(reader)
    assert [int(line) for line in content.splitlines()] == list(range(20_000))


def test_lines_that_could_not_be_written_are_counted_and_told_of() -> None:
    stdout = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(stdout)
    for dropped in (3, 6):
        for _ in range(3):
            writer.write("lost")
        wait_until(partial(_has_dropped, writer, dropped))
    reader, end = os.pipe()
    os.dup2(end, stdout)
    os.close(end)
    writer.write("kept")
    writer.close()
    os.close(stdout)
    with os.fdopen(reader) as pipe:
        kept, told = pipe.read().splitlines()
    assert kept == "kept"
    assert json.loads(told)["lines"] == 6


def _has_dropped(writer: LineWriter, lines: int) -> bool:
    return writer.dropped == lines


def test_a_reader_that_has_gone_is_no_error() -> None:
    reader, end = os.pipe()
    os.close(reader)
    writer = LineWriter(end)
    writer.write("nobody reads this")
    writer.close()
    os.close(end)


def test_a_process_that_ends_writes_its_last_line() -> None:
    code = (
        "import logging; from service.telemetry import logs; logs.configure('info'); "
        "[logging.getLogger('service').info('line %d', n) for n in range(1000)]"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=LIVENESS_SECONDS
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1000
    assert json.loads(lines[-1])["message"] == "line 999"


def test_metrics_are_reported_every_so_often_and_at_the_end() -> None:
    kept, metrics = Kept(), Metrics("api")
    metrics.add("UploadsAborted")
    reporter = MetricsReporter(metrics, kept, 0.01)
    wait_until(lambda: len(kept.lines) == 1)
    metrics.add("UploadsAborted", 2)
    reporter.close()
    assert sum(json.loads(line)["UploadsAborted"] for line in kept.lines) == 3
