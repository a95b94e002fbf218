"""Schedule expressions of EventBridge Scheduler: rate(), cron() and at(), in a time zone.

Rules: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html. No kept library evaluates this
dialect (six fields with a year, SUN = 1, `?`, L, W and #).
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from local.runner.ports import RunnerError

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}
_ALLOWED = "allowed: rate(5 minutes), cron(minutes hours day-of-month month day-of-week year), at(yyyy-mm-ddThh:mm:ss)"


class Timing(Protocol):
    """When a schedule runs."""

    def next(self, after: datetime) -> datetime | None:
        """The first run strictly after an aware time, or None when there is no more."""
        ...


def parse_timing(expression: str, timezone: str, anchor: datetime) -> Timing:
    """The timing that an expression means; a rate counts from `anchor` (aware), which is its first run.

    Raises RunnerError that quotes the expression and says what is allowed.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise RunnerError(
            f"time zone {timezone!r} is unknown; allowed: names of the IANA database, as Europe/Lisbon"
        ) from error
    match = re.fullmatch(r"(rate|cron|at)\((.*)\)", expression.strip())
    try:
        if match is None:
            raise ValueError("is neither rate(…), cron(…) nor at(…)")
        kind, body = match.groups()
        if kind == "rate":
            return _rate(body, anchor)
        if kind == "at":
            return Once(datetime.strptime(body, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).astimezone(UTC))
        return Cron.parse(body, zone)
    except ValueError as error:
        raise RunnerError(f"schedule expression {expression!r}: {error}; {_ALLOWED}") from error


@dataclass(frozen=True)
class Once:
    """at(): one run."""

    moment: datetime

    def next(self, after: datetime) -> datetime | None:
        return self.moment if self.moment > after else None


@dataclass(frozen=True)
class Rate:
    """rate(): a run each period of elapsed time; a day is 24 hours, whatever the clocks do."""

    anchor: datetime
    period: timedelta

    def next(self, after: datetime) -> datetime | None:
        if after < self.anchor:
            return self.anchor
        return self.anchor + ((after - self.anchor) // self.period + 1) * self.period


@dataclass(frozen=True)
class Cron:
    """cron(): local wall clock times. One that the clocks skip is skipped, one that they repeat runs once."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: str
    months: frozenset[int]
    weekdays: str
    years: tuple[int, ...]
    zone: ZoneInfo

    @classmethod
    def parse(cls, body: str, zone: ZoneInfo) -> Cron:
        fields = body.upper().split()
        if len(fields) != 6:
            raise ValueError(f"has {len(fields)} fields, not 6")
        minutes, hours, days, months, weekdays, years = fields
        if (days == "?") == (weekdays == "?"):
            raise ValueError("exactly one of day-of-month and day-of-week must be ?")
        cron = cls(
            minutes=_values(minutes, 0, 59),
            hours=_values(hours, 0, 23),
            days=days,
            months=frozenset(_values(months, 1, 12, _MONTHS)),
            weekdays=weekdays,
            years=_values(years, 1970, 2199),
            zone=zone,
        )
        cron.days_of(2024, 1)  # the day fields are read for a month at a time: read them once now, to refuse bad ones
        return cron

    def next(self, after: datetime) -> datetime | None:
        local = after.astimezone(self.zone).date()
        for year in (year for year in self.years if year >= local.year):
            for month in range(1, 13):
                if month not in self.months or (year, month) < (local.year, local.month):
                    continue
                for day in sorted(self.days_of(year, month)):
                    if date(year, month, day) < local:
                        continue
                    for moment in self._moments(date(year, month, day)):
                        if moment > after:
                            return moment
        return None

    def days_of(self, year: int, month: int) -> set[int]:
        """The days of one month that the day fields name."""
        if self.days != "?":
            return {day for item in self.days.split(",") for day in _days_of_month(item, year, month)}
        return {day for item in self.weekdays.split(",") for day in _days_of_week(item, year, month)}

    def _moments(self, day: date) -> list[datetime]:
        moments = []
        for wall in (time(hour, minute) for hour in self.hours for minute in self.minutes):
            # In UTC, because two times of one zone compare by their wall clocks (Python, datetime: fold is ignored).
            moment = datetime.combine(day, wall, self.zone).astimezone(UTC)
            # A wall clock time that the clocks skip comes back as another one.
            if moment.astimezone(self.zone).time() == wall:
                moments.append(moment)
        return moments


def _rate(body: str, anchor: datetime) -> Rate:
    match = re.fullmatch(r"(\d+) (minute|hour|day)s?", body.strip())
    if match is None or int(match[1]) < 1:
        raise ValueError("a rate is a positive whole number and minutes, hours or days")
    return Rate(anchor, timedelta(seconds=int(match[1]) * _UNITS[match[2]]))


def _values(field: str, low: int, high: int, names: dict[str, int] | None = None) -> tuple[int, ...]:
    """The numbers that a list of `*`, n, n-m and steps of them names; a range that starts above its end wraps."""
    values: set[int] = set()
    for item in field.split(","):
        span, slash, step_text = item.partition("/")
        step = _number(step_text, 1, high) if slash else 1
        if span == "*":
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, low, high, names)
            last = _number(last_text, low, high, names) if dash else (high if slash else first)
        numbers = range(first, last + 1) if first <= last else [*range(first, high + 1), *range(low, last + 1)]
        values.update(list(numbers)[::step])
    return tuple(sorted(values))


def _number(text: str, low: int, high: int, names: dict[str, int] | None = None) -> int:
    value = (names or {}).get(text, int(text) if text.isascii() and text.isdigit() else -1)
    if not low <= value <= high:
        raise ValueError(f"{text!r} is not within {low} and {high}")
    return value


def _days_of_month(item: str, year: int, month: int) -> list[int]:
    last = monthrange(year, month)[1]
    if item == "L":
        return [last]
    if item == "LW":
        return [_nearest_weekday(last, year, month)]
    if item.endswith("W"):
        day = _number(item[:-1], 1, 31)
        return [_nearest_weekday(day, year, month)] if day <= last else []
    return [day for day in _values(item, 1, 31) if day <= last]


def _nearest_weekday(day: int, year: int, month: int) -> int:
    """The Monday to Friday next to a day, within its month."""
    weekday = date(year, month, day).isoweekday()
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 7:
        return day + 1 if day < monthrange(year, month)[1] else day - 2
    return day


def _days_of_week(item: str, year: int, month: int) -> list[int]:
    last = monthrange(year, month)[1]

    def every(weekday: int) -> list[int]:
        return [day for day in range(1, last + 1) if date(year, month, day).isoweekday() % 7 + 1 == weekday]

    if item == "L":
        return every(7)
    if item.endswith("L"):
        return every(_number(item[:-1], 1, 7, _DAYS))[-1:]
    if "#" in item:
        weekday, _, nth = item.partition("#")
        position = _number(nth, 1, 5)
        return every(_number(weekday, 1, 7, _DAYS))[position - 1 : position]
    return [day for weekday in _values(item, 1, 7, _DAYS) for day in every(weekday)]
