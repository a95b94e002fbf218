from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.runner import RunnerError
from local.runner.timing import Cron, Timing, parse_timing

START = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
NEW_YORK = "America/New_York"


def runs(timing: Timing, count: int, after: datetime = START) -> list[datetime]:
    found: list[datetime] = []
    while len(found) < count and (due := timing.next(after)) is not None:
        found.append(due)
        after = due
    return found


def cron(body: str, count: int = 3, zone: str = "UTC", after: datetime = START) -> list[str]:
    found = runs(parse_timing(f"cron({body})", zone, START), count, after)
    return [due.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") for due in found]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("0 10 * * ? *", ["2026-01-16 10:00", "2026-01-17 10:00", "2026-01-18 10:00"]),
        ("15 12 * * ? *", ["2026-01-15 12:15", "2026-01-16 12:15", "2026-01-17 12:15"]),
        ("0 12 * * ? *", ["2026-01-16 12:00", "2026-01-17 12:00", "2026-01-18 12:00"]),
        ("0 18 ? * MON-FRI *", ["2026-01-15 18:00", "2026-01-16 18:00", "2026-01-19 18:00"]),
        ("0 8 1 * ? *", ["2026-02-01 08:00", "2026-03-01 08:00", "2026-04-01 08:00"]),
        ("0/20 12 * * ? *", ["2026-01-15 12:20", "2026-01-15 12:40", "2026-01-16 12:00"]),
        ("0 0 ? * 1 *", ["2026-01-18 00:00", "2026-01-25 00:00", "2026-02-01 00:00"]),
        ("0 0 ? * SUN *", ["2026-01-18 00:00", "2026-01-25 00:00", "2026-02-01 00:00"]),
        ("0 0 ? * FRI-SUN *", ["2026-01-16 00:00", "2026-01-17 00:00", "2026-01-18 00:00"]),
        ("0 0 L * ? *", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
        ("0 0 LW * ? *", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("0 0 1W * ? *", ["2026-02-02 00:00", "2026-03-02 00:00", "2026-04-01 00:00"]),
        ("0 0 15W FEB-AUG/3 ? *", ["2026-02-16 00:00", "2026-05-15 00:00", "2026-08-14 00:00"]),
        ("0 0 31W * ? *", ["2026-01-30 00:00", "2026-03-31 00:00", "2026-05-29 00:00"]),
        ("0 0 ? * 6L *", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-27 00:00"]),
        ("0 0 ? * L *", ["2026-01-17 00:00", "2026-01-24 00:00", "2026-01-31 00:00"]),
        ("0 0 ? * TUE#2 *", ["2026-02-10 00:00", "2026-03-10 00:00", "2026-04-14 00:00"]),
        ("0 0 ? * 1#5 *", ["2026-03-29 00:00", "2026-05-31 00:00", "2026-08-30 00:00"]),
        ("0 0 29 2 ? *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("5 0 1 JAN ? 2027-2028", ["2027-01-01 00:05", "2028-01-01 00:05"]),
        ("0 0 31 2 ? *", []),
        ("0 0 1 1 ? 2025", []),
    ],
)
def test_cron(body: str, expected: list[str]) -> None:
    assert cron(body) == expected


def test_cron_keeps_the_wall_clock_of_its_time_zone_over_a_change() -> None:
    after = datetime(2026, 3, 6, 12, tzinfo=UTC)
    found = runs(parse_timing("cron(0 9 * * ? *)", NEW_YORK, START), 4, after)
    assert [due.hour for due in found] == [14, 14, 13, 13]


def test_cron_skips_a_time_that_the_clocks_skip() -> None:
    after = datetime(2026, 3, 7, 12, tzinfo=UTC)
    assert cron("30 2 * * ? *", 2, NEW_YORK, after) == ["2026-03-09 02:30", "2026-03-10 02:30"]


def test_cron_runs_once_in_an_hour_that_the_clocks_repeat() -> None:
    after = datetime(2026, 10, 31, 12, tzinfo=UTC)
    assert cron("30 1 * * ? *", 2, NEW_YORK, after) == ["2026-11-01 01:30", "2026-11-02 01:30"]


def test_rate_begins_with_its_anchor() -> None:
    timing = parse_timing("rate(90 minutes)", "UTC", START)
    before = START - timedelta(microseconds=1)
    assert runs(timing, 3, before) == [START, START + timedelta(minutes=90), START + timedelta(minutes=180)]


@given(st.integers(1, 500), st.sampled_from(["minutes", "hours", "days"]), st.integers(0, 10**8))
def test_rate_is_the_next_whole_period(value: int, unit: str, seconds: int) -> None:
    period = timedelta(**{unit: value})
    after = START + timedelta(seconds=seconds)
    due = parse_timing(f"rate({value} {unit})", "UTC", START).next(after)
    assert due is not None
    assert after < due <= after + period
    assert (due - START) % period == timedelta()


def test_at_runs_once_in_its_time_zone() -> None:
    timing = parse_timing("at(2026-07-01T08:00:00)", "Europe/Lisbon", START)
    assert runs(timing, 2) == [datetime(2026, 7, 1, 7, tzinfo=UTC)]


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(1, 31),
    st.integers(1, 12),
    st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1)),
)
def test_cron_is_strictly_later_and_matches_its_fields(
    minute: int, hour: int, day: int, month: int, moment: datetime
) -> None:
    after = moment.replace(tzinfo=UTC)
    due = parse_timing(f"cron({minute} {hour} {day} {month} ? *)", "UTC", START).next(after)
    if due is None:
        assert day > max(monthrange(2024, month)[1], monthrange(2025, month)[1])
    else:
        assert due > after
        assert (due.minute, due.hour, due.day, due.month) == (minute, hour, day, month)


@given(st.integers(1, 7), st.integers(2020, 2060), st.integers(1, 12))
def test_the_nth_weekdays_of_a_month_are_that_weekday(weekday: int, year: int, month: int) -> None:
    def days(field: str) -> set[int]:
        found = parse_timing(f"cron(0 0 ? * {field} *)", "UTC", START)
        assert isinstance(found, Cron)
        return found.days_of(year, month)

    every = days(str(weekday))
    assert {date(year, month, day).isoweekday() % 7 + 1 for day in every} == {weekday}
    assert set().union(*(days(f"{weekday}#{nth}") for nth in range(1, 6))) == every
    assert days(f"{weekday}L") == {max(every)}


def test_cron_of_every_minute_is_every_minute() -> None:
    timing = parse_timing("cron(* * * * ? *)", "UTC", START)
    assert runs(timing, 120) == [START + timedelta(minutes=n) for n in islice(range(1, 121), 120)]


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("0 10 * * ? *", "neither rate"),
        ("rate(0 minutes)", "positive whole number"),
        ("rate(5 seconds)", "minutes, hours or days"),
        ("cron(0 10 * * ?)", "has 5 fields, not 6"),
        ("cron(0 10 * * * *)", "exactly one of day-of-month and day-of-week"),
        ("cron(0 10 ? * ? *)", "exactly one of day-of-month and day-of-week"),
        ("cron(60 10 * * ? *)", "'60' is not within 0 and 59"),
        ("cron(0 24 * * ? *)", "'24' is not within 0 and 23"),
        ("cron(0 0 32 * ? *)", "'32' is not within 1 and 31"),
        ("cron(0 0 ? * 0 *)", "'0' is not within 1 and 7"),
        ("cron(0 0 ? * MON#6 *)", "'6' is not within 1 and 5"),
        ("cron(0 0 ? FOO MON *)", "'FOO' is not within 1 and 12"),
        ("cron(0 0 * * ? 1969)", "'1969' is not within 1970 and 2199"),
        ("cron(*/0 0 * * ? *)", "'0' is not within 1 and 59"),
        ("at(tomorrow)", "schedule expression 'at\\(tomorrow\\)'"),
    ],
)
def test_refuses_what_has_no_meaning_and_says_what_has(expression: str, complaint: str) -> None:
    with pytest.raises(RunnerError, match=complaint) as refusal:
        parse_timing(expression, "UTC", START)
    assert "allowed: rate(5 minutes)" in str(refusal.value)


def test_refuses_an_unknown_time_zone() -> None:
    with pytest.raises(RunnerError, match="time zone 'Mars/Olympus' is unknown"):
        parse_timing("rate(1 hour)", "Mars/Olympus", START)
