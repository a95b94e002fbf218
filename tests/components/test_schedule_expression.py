from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.schedule_expression import EXPRESSIONS, schedule_problem, timezone_problem


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)",
        "rate(5 minutes)",
        "rate(1 hour)",
        "rate(12 hours)",
        "rate(1 day)",
        "rate(30 days)",
        "cron(0 10 * * ? *)",
        "cron(15 12 * * ? *)",
        "cron(0 18 ? * MON-FRI *)",
        "cron(0 8 1 * ? *)",
        "cron(0/15 * * * ? *)",
        "cron(0/5 8-17 ? * MON-FRI *)",
        "cron(0 9 L * ? *)",
        "cron(0 9 LW * ? *)",
        "cron(0 9 3W * ? *)",
        "cron(0 9 ? * 2#1 *)",
        "cron(0 9 ? * FRI#4 2030-2035)",
        "cron(0 9 ? * 6L *)",
        "cron(0 9 ? * L *)",
        "cron(0 22-2 ? jan,JUL fri-mon *)",
        "cron(*/10 * ? * * *)",
        "at(2030-01-31T03:00:00)",
    ],
)
def test_a_valid_expression_is_taken(expression: str) -> None:
    assert schedule_problem(expression) is None


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", EXPRESSIONS),
        ("hourly", EXPRESSIONS),
        ("rate(1 hour) ", EXPRESSIONS),
        ("rate(0 minutes)", "whole number from 1"),
        ("rate(1.5 hours)", "whole number from 1"),
        ("rate(5minutes)", "whole number from 1"),
        ("rate(1 hours)", "minute, hour or day"),
        ("rate(2 hour)", "minutes, hours or days"),
        ("rate(2 weeks)", "minutes, hours or days"),
        ("cron(0 10 * * ?)", "six fields"),
        ("cron(60 10 * * ? *)", "minutes is 0-59"),
        ("cron(0 24 * * ? *)", "hours is 0-23"),
        ("cron(0 10 0 * ? *)", "day of month is 1-31"),
        ("cron(0 10 * 13 ? *)", "month is 1-12"),
        ("cron(0 10 ? * 8 *)", "day of week is 1-7"),
        ("cron(0 10 ? * 2#6 *)", "day of week"),
        ("cron(0 10 ? * MOON *)", "day of week"),
        ("cron(0 10 * * ? 1969)", "year is 1970-2199"),
        ("cron(0 10 * * * *)", "exactly one"),
        ("cron(0 10 ? * ? *)", "exactly one"),
        ("cron(? 10 * * ? *)", "minutes"),
        ("cron(0/0 10 * * ? *)", "minutes"),
        ("cron(1-2-3 10 * * ? *)", "minutes"),
        ("cron(0 10 1,? * ? *)", "day of month"),
        ("at(2030-02-30T03:00:00)", "a date and time"),
        ("at(2030-01-31 03:00:00)", "a date and time"),
        ("at(2030-01-31T03:00:00Z)", "a date and time"),
    ],
)
def test_an_expression_that_eventbridge_refuses_is_refused_with_the_reason(expression: str, why: str) -> None:
    assert why in (schedule_problem(expression) or "")


@given(st.integers(1, 10_000), st.sampled_from(["minute", "hour", "day"]))
def test_every_rate_has_one_spelling(value: int, unit: str) -> None:
    right, wrong = (unit, f"{unit}s") if value == 1 else (f"{unit}s", unit)
    assert schedule_problem(f"rate({value} {right})") is None
    assert schedule_problem(f"rate({value} {wrong})") is not None


@given(st.datetimes())
def test_every_moment_to_the_second_can_be_said(moment: object) -> None:
    assert schedule_problem(f"at({str(moment)[:19].replace(' ', 'T')})") is None


@given(st.text(alphabet="0123456789*?/-,LW#MONFRI ", max_size=30))
def test_no_text_breaks_the_check(text: str) -> None:
    for kind in ("rate", "cron", "at"):
        assert schedule_problem(f"{kind}({text})") is None or schedule_problem(f"{kind}({text})")


def test_a_time_zone_is_one_of_the_iana_database() -> None:
    assert timezone_problem("UTC") is None
    assert timezone_problem("America/Sao_Paulo") is None
    for wrong in ("", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "UTC+1 "):
        assert timezone_problem(wrong) is not None
