"""Schedule expressions of EventBridge Scheduler, checked before AWS sees them.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from components.arguments import Valid

EXPRESSIONS = "rate(1 hour), cron(0 3 * * ? *) or at(2030-01-31T03:00:00)"
TIMEZONES = "a name of the IANA database, as in UTC or America/Sao_Paulo"

_UNITS = ("minute", "hour", "day")
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: number for number, name in enumerate(_DAY_NAMES, start=1)}


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    words: Mapping[str, int] = field(default_factory=dict)
    extra: str = ""

    @property
    def allowed(self) -> str:
        words = f" or {next(iter(self.words))}-{list(self.words)[-1]}" if self.words else ""
        return f"{self.name} is {self.low}-{self.high}{words}, with , - * / {' '.join(self.extra)}".rstrip()


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("day of month", 1, 31, extra="?LW"),
    _Field("month", 1, 12, words=_MONTHS),
    _Field("day of week", 1, 7, words=_DAYS, extra="?L#"),
    _Field("year", 1970, 2199),
)


def schedule_problem(expression: str) -> str | None:
    """What is allowed where the expression is wrong, in words; None when nothing is wrong."""
    match = re.fullmatch(r"(rate|cron|at)\((.*)\)", expression)
    if match is None:
        return EXPRESSIONS
    kind, body = match.groups()
    return {"rate": _rate_problem, "cron": _cron_problem, "at": _at_problem}[kind](body)


def timezone_problem(timezone: str) -> str | None:
    """What is allowed in place of a wrong name of a time zone, in words; None when nothing is wrong."""
    known = _timezones()
    if known:
        return None if timezone in known else TIMEZONES
    # A machine without a time zone database knows no zone at all, and so can refuse none.
    return None if re.fullmatch(r"[A-Za-z0-9_+/-]+", timezone) else TIMEZONES


@functools.cache
def _timezones() -> frozenset[str]:
    # What a machine calls its own zone, and no zone, are names of files and not of the database.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


ScheduleExpression = Annotated[str, Valid(schedule_problem, "correct the expression", EXPRESSIONS)]
TimeZone = Annotated[str, Valid(timezone_problem, "correct the name", TIMEZONES)]


def _rate_problem(body: str) -> str | None:
    match = re.fullmatch(r"([0-9]+) (\w+)", body)
    if match is None or int(match[1]) < 1:
        return "rate takes a whole number from 1 and a unit, as in rate(5 minutes)"
    value, unit = int(match[1]), match[2]
    units = _UNITS if value == 1 else tuple(f"{name}s" for name in _UNITS)
    if unit not in units:
        return f"the unit after {value} is {', '.join(units[:-1])} or {units[-1]}"
    return None


def _at_problem(body: str) -> str | None:
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", body):
            raise ValueError
        datetime.fromisoformat(body)
    except ValueError:
        return "at takes a date and time without a zone, as in at(2030-01-31T03:00:00)"
    return None


def _cron_problem(body: str) -> str | None:
    values = body.split()
    if len(values) != len(_FIELDS):
        return f"cron takes six fields ({', '.join(spec.name for spec in _FIELDS)}), not {len(values)}"
    for spec, value in zip(_FIELDS, values, strict=True):
        if not all(_is_item(spec, item) for item in value.split(",")) or ("?" in value and value != "?"):
            return f"{value!r}: {spec.allowed}"
    if (values[2] == "?") == (values[4] == "?"):
        return "exactly one of day of month and day of week is ?"
    return None


def _is_item(spec: _Field, item: str) -> bool:
    if item in ("*", "?"):
        return item == "*" or "?" in spec.extra
    if "/" in item:
        start, _, step = item.partition("/")
        span = spec.high - spec.low + 1
        return (start == "*" or _is_range(spec, start)) and step.isascii() and step.isdigit() and 0 < int(step) <= span
    return _is_range(spec, item) or _is_special(spec, item)


def _is_range(spec: _Field, item: str) -> bool:
    bounds = [_number(spec, part) for part in item.split("-")]
    # A range may run over the end, as 22-2 or FRI-MON do.
    return len(bounds) <= 2 and all(bound is not None for bound in bounds)


def _is_special(spec: _Field, item: str) -> bool:
    if spec.name == "day of month":
        if item in ("L", "LW"):
            return True
        return item.endswith("W") and _number(spec, item[:-1]) is not None
    if spec.name == "day of week":
        if item == "L":
            return True
        if item.endswith("L"):
            return _number(spec, item[:-1]) is not None
        day, mark, week = item.partition("#")
        return mark == "#" and _number(spec, day) is not None and week in ("1", "2", "3", "4", "5")
    return False


def _number(spec: _Field, text: str) -> int | None:
    if text.upper() in spec.words:
        return spec.words[text.upper()]
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if spec.low <= int(text) <= spec.high else None
