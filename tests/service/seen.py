"""What a run leaves behind in its log, checked: every line is JSON, every metric is one that CloudWatch reads, and
nothing that was confided to the service is in any of it."""

from __future__ import annotations

import base64
import functools
import json
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jsonschema import Draft7Validator

from service.telemetry.logs import JsonFormatter

# Goes into the bodies and files that tests send, and never into a log.
MARKER = "c0nfidential"
# "You can use the following schema to validate": the CloudWatch user guide, embedded metric format specification. The
# limits that follow are from its text; the schema does not have them.
SCHEMA = Path(__file__).with_name("emf-schema.json")
METRICS_A_DIRECTIVE = 100
VALUES_A_METRIC = 100
DIMENSION_CHARACTERS = 1024
EVENT_BYTES = 1_048_576


def check_log(text: str, *secrets: str) -> list[dict[str, Any]]:
    """The lines of a log, after checking that they are what a log may have. Raises AssertionError."""
    check_secrets(text, *secrets)
    lines = []
    for line in text.splitlines():
        found = json.loads(line, parse_constant=_refuse)
        assert isinstance(found, dict), line
        if "_aws" in found:
            assert len(line.encode()) <= EVENT_BYTES
            check_emf(found)
        else:
            assert {"time", "level", "logger", "message"} <= found.keys(), line
        lines.append(found)
    return lines


def check_emf(line: dict[str, Any]) -> None:
    """Raises ValidationError or AssertionError unless ``line`` is one that CloudWatch makes metrics of."""
    _validator().validate(line)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert 1 <= len(directive["Metrics"]) <= METRICS_A_DIRECTIVE
        names = [metric["Name"] for metric in directive["Metrics"]]
        assert len(names) == len(set(names)), names
        for name in names:
            values = line[name] if isinstance(line[name], list) else [line[name]]
            assert 1 <= len(values) <= VALUES_A_METRIC, name
            assert all(_is_number(value) for value in values), (name, values)
        for dimension in (key for keys in directive["Dimensions"] for key in keys):
            value = line[dimension]
            assert isinstance(value, str), dimension
            assert 1 <= len(value) <= DIMENSION_CHARACTERS, dimension


def check_secrets(text: str, *secrets: str) -> None:
    """Raises AssertionError if ``text`` has one of ``secrets`` or MARKER in it, however written."""
    for secret in (*secrets, MARKER):
        for form in _forms(secret):
            if form in text:
                line = next(line for line in text.splitlines() if form in line)
                raise AssertionError(f"a log line has {secret!r} in it, as {form!r}: {line[:500]}")


def metrics(lines: Iterable[dict[str, Any]]) -> dict[str, list[float]]:
    """The values of each metric in the EMF lines among ``lines``."""
    found: dict[str, list[float]] = {}
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                value = line[metric["Name"]]
                found.setdefault(metric["Name"], []).extend(value if isinstance(value, list) else [value])
    return found


class Witness(logging.Handler):
    """Writes down every record of this process as the line that the service would write."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def check(self, *secrets: str) -> None:
        check_secrets("\n".join(self.lines), *secrets)


def _forms(secret: str) -> set[str]:
    data = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        data.decode("latin-1"),  # as a header is read
        json.dumps(data.decode("latin-1"))[1:-1],
        repr(data)[2:-1],
        json.dumps(repr(data)[2:-1])[1:-1],
        quote(secret),
        base64.b64encode(data).decode().rstrip("="),
        data.hex(),
    }


@functools.cache
def _validator() -> Draft7Validator:
    return Draft7Validator(json.loads(SCHEMA.read_text()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")
