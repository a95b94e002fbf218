"""CloudWatch's metric math and alarms, as far as the components use them, by AWS's documentation.

A series is one value a minute, the newest last, None where nothing was published.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Series = Sequence[float | None]

_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: lambda a, b: float(a > b),
    ast.GtE: lambda a, b: float(a >= b),
    ast.Lt: lambda a, b: float(a < b),
    ast.And: lambda a, b: float(bool(a) and bool(b)),
}


@dataclass(frozen=True)
class Rules:
    """How a missing point is read: as nought beside another one, and as the value of an IF whose condition holds."""

    beside: bool = True
    in_if: bool = True


DOCUMENTED = Rules()


def evaluate(
    expression: str, metrics: Mapping[str, Series], *, counts_as_nought: Rules = DOCUMENTED
) -> list[float | None]:
    """What the expression yields, minute by minute.

    Of two metrics of which one has no point, arithmetic and comparisons take the missing one for nought, as documented,
    and so does an IF, which is documented of a metric as its condition alone. Other rules leave such a minute out, as is
    often believed: an expression that is worth deploying is right under them, too.
    """
    length = max(len(series) for series in metrics.values())
    return [
        _point(expression, tuple((name, series[minute]) for name, series in metrics.items()), counts_as_nought)
        for minute in range(length)
    ]


@functools.lru_cache(maxsize=10_000)
def _point(expression: str, values: tuple[tuple[str, float | None], ...], nought: Rules) -> float | None:
    # The grammar is Python's, apart from one word.
    tree = ast.parse(expression.replace(" AND ", " and "), mode="eval")
    return _value(tree.body, dict(values), nought)


def _value(node: ast.expr, point: Mapping[str, float | None], nought: Rules) -> float | None:
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int | float)
        return float(node.value)
    if isinstance(node, ast.Name):
        return point[node.id]
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _call(node.func.id, node.args, point, nought)
    if isinstance(node, ast.BinOp):
        return _binary(node.op, (node.left, node.right), point, nought)
    if isinstance(node, ast.Compare):
        return _binary(node.ops[0], (node.left, node.comparators[0]), point, nought)
    assert isinstance(node, ast.BoolOp)
    return _binary(node.op, node.values, point, nought)


def _binary(
    kind: ast.AST,
    sides: Sequence[ast.expr],
    point: Mapping[str, float | None],
    nought: Rules,
) -> float | None:
    left, right = (_value(side, point, nought) for side in sides)
    if left is None and right is None:
        return None
    if left is None or right is None:
        # A number has a value in each minute of the metric beside it, and in no other.
        if not nought.beside or any(isinstance(side, ast.Constant) for side in sides):
            return None
        left, right = left or 0.0, right or 0.0
    try:
        return _OPERATORS[type(kind)](left, right)
    except ZeroDivisionError:
        return None


def _call(name: str, arguments: list[ast.expr], point: Mapping[str, float | None], nought: Rules) -> float | None:
    values = [_value(argument, point, nought) for argument in arguments]
    if name == "FILL":
        return values[1] if values[0] is None else values[0]
    assert name == "IF", name
    if values[0] is None:
        return None
    if values[0]:
        return 0.0 if values[1] is None and nought.in_if else values[1]
    return values[2] if len(values) > 2 else None


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """`breaches` for at least `datapoints` of the newest `periods` points that there are."""

    breaches: Callable[[float], bool]
    datapoints: int
    periods: int
    missing: str = "missing"

    def state(self, series: Series, before: str = "OK") -> str:
        """OK, ALARM or INSUFFICIENT_DATA.

        CloudWatch looks back by some more points than it needs, by two in the documentation's examples of three.
        """
        seen = list(series[-self.periods - 2 :])
        points = [self.breaches(value) for value in seen if value is not None][-self.periods :]
        lacking = self.periods - len(points)
        bad = sum(points)
        if lacking <= 0 or bad >= self.datapoints:
            return "ALARM" if bad >= self.datapoints else "OK"
        if self.missing == "breaching":
            return "ALARM" if bad + lacking >= self.datapoints else "OK"
        if self.missing == "notBreaching" or not all(points):
            return "OK"
        if self.missing == "ignore":
            return before
        # The oldest point breaches, and nothing good has come since: an alarm, once it is as old as those it needs.
        oldest = max((age for age, value in enumerate(reversed(seen), start=1) if value is not None), default=0)
        return "ALARM" if oldest >= self.datapoints else "INSUFFICIENT_DATA"


def alarm_of(inputs: Mapping[str, Any]) -> Alarm:
    """The alarm that was registered with these inputs."""
    compare = {
        "GreaterThanOrEqualToThreshold": operator.ge,
        "GreaterThanThreshold": operator.gt,
        "LessThanThreshold": operator.lt,
    }[inputs["comparisonOperator"]]
    return Alarm(
        breaches=lambda value: bool(compare(value, inputs["threshold"])),
        datapoints=inputs.get("datapointsToAlarm", inputs["evaluationPeriods"]),
        periods=inputs["evaluationPeriods"],
        missing=inputs.get("treatMissingData", "missing"),
    )
