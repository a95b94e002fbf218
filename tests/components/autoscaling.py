"""Application Auto Scaling over the policies that a deployment registered, minute by minute.

As documented, and where the documentation gives no numbers as its alarms are seen to be: three points of three above
the target add, fifteen of fifteen below nine tenths of it take away (aws/copilot-cli#4233).
https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.components.deployment import Deployment
from tests.components.metric_math import Alarm, Series, alarm_of, evaluate

_RANGE = 17
_PREDEFINED = {"ECSServiceAverageCPUUtilization": "CPUUtilization", "ALBRequestCountPerTarget": "RequestCountPerTarget"}

World = Callable[[int, int], Mapping[str, float | None]]
"""What is published for a minute, by the metrics' names, while so many tasks run."""


@dataclass(frozen=True, kw_only=True)
class TrackingPolicy:
    name: str
    expression: str
    metrics: Mapping[str, str]
    target: float
    adds_only: bool
    cooldown_out: int
    cooldown_in: int

    def series(self, published: Mapping[str, Series]) -> Series:
        return evaluate(self.expression, {key: published[metric] for key, metric in self.metrics.items()})

    @property
    def high(self) -> Alarm:
        return Alarm(breaches=lambda value: value > self.target, datapoints=3, periods=3)

    @property
    def low(self) -> Alarm:
        return Alarm(breaches=lambda value: value < 0.9 * self.target, datapoints=15, periods=15)

    def wanted(self, series: Series, tasks: int) -> int:
        """Rounded up, so that taking one away never brings the metric above the target; from none, one."""
        newest = [value for value in series if value is not None][-1]
        return math.ceil(tasks * newest / self.target - 1e-9) if tasks else 1


@dataclass(frozen=True, kw_only=True)
class StepPolicy:
    name: str
    expression: str
    metrics: Mapping[str, str]
    alarm: Alarm
    threshold: float
    upper_bound: float
    adjustment: int
    cooldown: int

    def series(self, published: Mapping[str, Series]) -> Series:
        return evaluate(self.expression, {key: published[metric] for key, metric in self.metrics.items()})

    def adds(self, series: Series) -> int:
        """The step for the least of the points that the alarm looked at; without a step for it AWS does nothing."""
        least = min([value for value in series if value is not None][-self.alarm.periods :])
        return self.adjustment if least - self.threshold <= self.upper_bound else 0


Policy = TrackingPolicy | StepPolicy


def policies_of(deployment: Deployment) -> list[Policy]:
    """The scaling policies, as registered, with the alarms that call them."""
    found: list[Policy] = []
    for resource in deployment.all("appautoscaling/policy:Policy"):
        tracking = resource.inputs.get("targetTrackingScalingPolicyConfiguration")
        found.append(_tracking(resource.name, tracking) if tracking is not None else _step(deployment, resource.name))
    return found


def _tracking(name: str, inputs: Mapping[str, Any]) -> TrackingPolicy:
    if "predefinedMetricSpecification" in inputs:
        expression = "m"
        metrics = {"m": _PREDEFINED[inputs["predefinedMetricSpecification"]["predefinedMetricType"]]}
    else:
        queries = inputs["customizedMetricSpecification"]["metrics"]
        (expression,) = [query["expression"] for query in queries if query["returnData"]]
        metrics = {
            query["id"]: query["metricStat"]["metric"]["metricName"] for query in queries if not query["returnData"]
        }
    return TrackingPolicy(
        name=name,
        expression=expression,
        metrics=metrics,
        target=inputs["targetValue"],
        adds_only=inputs.get("disableScaleIn", False),
        cooldown_out=inputs["scaleOutCooldown"] // 60,
        cooldown_in=inputs["scaleInCooldown"] // 60,
    )


def _step(deployment: Deployment, name: str) -> StepPolicy:
    inputs = deployment.one("appautoscaling/policy:Policy", name).inputs["stepScalingPolicyConfiguration"]
    (alarm,) = [item.inputs for item in deployment.all(":MetricAlarm") if f":{name}-" in item.inputs["alarmActions"][0]]
    (step,) = inputs["stepAdjustments"]
    assert inputs["metricAggregationType"] == "Minimum"
    (expression,) = [query["expression"] for query in alarm["metricQueries"] if query["returnData"]]
    return StepPolicy(
        name=name,
        expression=expression,
        metrics={q["id"]: q["metric"]["metricName"] for q in alarm["metricQueries"] if not q["returnData"]},
        alarm=alarm_of(alarm),
        threshold=alarm["threshold"],
        upper_bound=float(step["metricIntervalUpperBound"]),
        adjustment=step["scalingAdjustment"],
        cooldown=inputs["cooldown"] // 60,
    )


def simulate(
    policies: list[Policy],
    world: World,
    *,
    minutes: int,
    bounds: tuple[int, int],
    tasks: int,
    late: Mapping[str, int] | None = None,
    start_minutes: int = 1,
) -> list[int]:
    """The desired count after each minute. `late` is by how many minutes a metric comes later than it should."""
    lowest, highest = bounds
    desired = [tasks]
    published: dict[str, list[float | None]] = {}
    last_out = dict.fromkeys((policy.name for policy in policies), -math.inf)
    last_in = -math.inf
    for minute in range(minutes):
        running = min(desired[-start_minutes - 1 :])
        for metric, value in world(minute, running).items():
            published.setdefault(metric, [None] * _RANGE).append(value)
        visible = {
            metric: [*series[-_RANGE:][: _RANGE - lag], *([None] * lag)]
            for metric, series in published.items()
            for lag in [(late or {}).get(metric, 0)]
        }
        count = desired[-1]
        out, down = [count], []
        for policy in policies:
            series = policy.series(visible)
            if isinstance(policy, StepPolicy):
                if policy.alarm.state(series) == "ALARM" and minute - last_out[policy.name] >= policy.cooldown:
                    out.append(count + policy.adds(series))
                    last_out[policy.name] = minute
                continue
            if policy.high.state(series) == "ALARM" and minute - last_out[policy.name] >= policy.cooldown_out:
                out.append(policy.wanted(series, count))
                last_out[policy.name] = minute
            if not policy.adds_only:
                # All that may take away have to agree, and the one that wants the most tasks decides.
                low = policy.low.state(series) == "ALARM" and minute - last_in >= policy.cooldown_in
                down.append(policy.wanted(series, count) if low else count)
        wanted = max(out)
        if wanted == count and down and max(down) < count:
            wanted, last_in = max(down), minute
        desired.append(min(highest, max(lowest, wanted)))
    return desired[1:]


def changes(counts: list[int]) -> int:
    """How often the count changed."""
    return sum(before != after for before, after in itertools.pairwise(counts))
