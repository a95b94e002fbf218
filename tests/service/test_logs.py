from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    output = io.StringIO()
    logs.configure("info", output)
    yield output
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_record_is_one_json_line_with_its_fields(stream: io.StringIO) -> None:
    logging.getLogger("service.test").warning("two\nlines %s", "é", extra={"fields": {"status": 201}})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line["message"] == "two\nlines é"
    assert (line["level"], line["logger"], line["status"]) == ("warning", "service.test", 201)
    assert line["time"].endswith("Z")


def test_a_traceback_stays_on_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("service.test").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["traceback"]


def test_lower_levels_and_chatter_of_libraries_are_left_out(stream: io.StringIO) -> None:
    logging.getLogger("service.test").debug("detail")
    logging.getLogger("botocore.credentials").info("found credentials")
    assert stream.getvalue() == ""
