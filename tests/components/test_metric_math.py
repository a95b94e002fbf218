"""The evaluator itself, against every example that AWS's documentation gives for what is used here."""

from __future__ import annotations

import pytest

from components.metric_math import Metric, MetricMath
from tests.components.metric_math import Alarm, Rules, Series, evaluate


@pytest.mark.parametrize(
    ("expression", "metrics", "expected"),
    [
        ("m1 < m2", {"m1": [30, 20, 0, 0], "m2": [20, None, 20, None]}, [0, 0, 1, 0]),
        ("m1 >= 30", {"m1": [30, 20, 0, 0]}, [1, 0, 0, 0]),
        ("m1 > 15 AND m2 > 15", {"m1": [30, 20, 0, 0], "m2": [20, None, 20, None]}, [1, 0, 0, 0]),
        (
            "IF(m1, m2, m3)",
            {"m1": [1, 1, 0, 0, None], "m2": [30, None, 0, 0, 30], "m3": [0, 0, 20, None, 20]},
            [30, 0, 20, None, None],
        ),
        ("IF(m1, 5, m3)", {"m1": [1, 1, 0, 0, None], "m3": [0, 0, 20, None, 20]}, [5, 5, 20, None, None]),
        ("IF(m1, m2, 5)", {"m1": [1, 1, 0, 0, None], "m2": [30, None, 0, 0, 30]}, [30, 0, 5, 5, None]),
        # In words: "Missing values in a time series are treated as 0. If the value of a data point causes a function to
        # attempt to divide by zero, the data point is dropped."
        ("m1 + m2", {"m1": [1, None, None], "m2": [2, 2, None]}, [3, 2, None]),
        ("m1 / m2", {"m1": [6, None, 6, 6], "m2": [3, 3, None, 0]}, [2, 0, None, None]),
        ("IF(m1 > 0, m2)", {"m1": [1, 1, 0, None], "m2": [7, None, 7, 7]}, [7, 0, None, None]),
        ("FILL(m1, 0)", {"m1": [3, None]}, [3, 0]),
    ],
)
def test_metric_math_yields_what_the_documentation_says(
    expression: str, metrics: dict[str, Series], expected: list[float | None]
) -> None:
    assert evaluate(expression, metrics) == expected


def test_missing_points_can_be_left_out_instead() -> None:
    metrics: dict[str, Series] = {"m1": [6, None, 6], "m2": [3, 3, None]}
    assert evaluate("m1 / m2", metrics, counts_as_nought=Rules(beside=False)) == [2, None, None]


@pytest.mark.parametrize(
    ("datapoints", "points", "states"),
    [
        (3, "0-X-X", ["OK", "OK", "OK", "OK"]),
        (3, "0----", ["OK", "OK", "OK", "OK"]),
        (3, "-----", ["INSUFFICIENT_DATA", "before", "ALARM", "OK"]),
        (3, "0XX-X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        (3, "--X--", ["ALARM", "before", "ALARM", "OK"]),
        (2, "0-X-X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        (2, "00X0X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
        (2, "0-X--", ["OK", "OK", "ALARM", "OK"]),
        (2, "----0", ["OK", "OK", "ALARM", "OK"]),
        (2, "---X-", ["ALARM", "before", "ALARM", "OK"]),
    ],
)
def test_an_alarm_is_in_the_state_that_the_documentation_s_tables_say(
    datapoints: int, points: str, states: list[str]
) -> None:
    series = [{"0": 0.0, "X": 1.0, "-": None}[point] for point in points]
    found = [
        Alarm(breaches=bool, datapoints=datapoints, periods=3, missing=missing).state(series, "before")
        for missing in ("missing", "ignore", "breaching", "notBreaching")
    ]
    assert found == states


def test_no_alarm_is_premature() -> None:
    for points in ([None, None, None, None, 1.0], [None, None, None, 1.0, None]):
        assert Alarm(breaches=bool, datapoints=3, periods=3).state(points) == "INSUFFICIENT_DATA"


def test_an_expression_has_a_form_for_target_tracking_and_one_for_alarms() -> None:
    math = MetricMath(
        name="half",
        expression="m1 / 2",
        metrics={"m1": Metric(namespace="A", name="B", dimensions={"C": "d"}, statistic="Sum")},
    )
    result = {"id": "half", "expression": "m1 / 2", "return_data": True}
    (tracked, tracked_result), (alarmed, alarmed_result) = math.tracked(), math.alarmed()
    assert tracked_result == alarmed_result == result
    assert tracked == {
        "id": "m1",
        "metric_stat": {
            "metric": {"namespace": "A", "metric_name": "B", "dimensions": [{"name": "C", "value": "d"}]},
            "stat": "Sum",
        },
        "return_data": False,
    }
    assert alarmed == {
        "id": "m1",
        "metric": {"namespace": "A", "metric_name": "B", "dimensions": {"C": "d"}, "period": 60, "stat": "Sum"},
        "return_data": False,
    }
