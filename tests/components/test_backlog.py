from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from components import ArgumentError, BacklogScaling, Queue
from settings import Settings
from tests.components.autoscaling import StepPolicy, TrackingPolicy, policies_of, simulate
from tests.components.deployment import Deployment, deploy, deploy_twice
from tests.components.metric_math import Alarm, Rules, Series, evaluate
from tests.components.test_worker_service import worker


@pytest.fixture(scope="module")
def from_nought() -> Deployment:
    return deploy_twice(lambda: worker(min=0, max=5, latency_seconds=30, message_seconds=0.1))


def _tracking(deployment: Deployment) -> Any:
    policy = deployment.one("appautoscaling/policy:Policy", "worker-backlog")
    return policy.inputs["targetTrackingScalingPolicyConfiguration"]


def test_a_task_may_have_as_many_messages_before_it_as_it_works_off_in_the_latency(from_nought: Deployment) -> None:
    assert _tracking(from_nought)["targetValue"] == pytest.approx(300)


def test_the_backlog_is_of_sqs_and_container_insights(from_nought: Deployment) -> None:
    metrics = {metric["id"]: metric for metric in _tracking(from_nought)["customizedMetricSpecification"]["metrics"]}
    named = {
        metric_id: metric["metricStat"]["metric"]["metricName"]
        for metric_id, metric in metrics.items()
        if "metricStat" in metric
    }
    assert named == {
        "visible": "ApproximateNumberOfMessagesVisible",
        "inflight": "ApproximateNumberOfMessagesNotVisible",
        "running": "RunningTaskCount",
    }
    assert [metric_id for metric_id, metric in metrics.items() if metric["returnData"]] == ["backlog"]


def test_the_metrics_are_of_this_queue_and_this_service(from_nought: Deployment) -> None:
    metrics = {metric["id"]: metric for metric in _tracking(from_nought)["customizedMetricSpecification"]["metrics"]}

    def dimensions(metric_id: str) -> dict[str, str]:
        return {item["name"]: item["value"] for item in metrics[metric_id]["metricStat"]["metric"]["dimensions"]}

    assert dimensions("visible") == dimensions("inflight") == {"QueueName": "inbox-1a2b3c4"}
    assert dimensions("running") == {"ClusterName": "cluster-1a2b3c4", "ServiceName": "worker-1a2b3c4"}


def test_from_nought_an_alarm_on_sqs_alone_starts_a_task(from_nought: Deployment) -> None:
    alarm = from_nought.one(":MetricAlarm").inputs
    policy = from_nought.one("appautoscaling/policy:Policy", "worker-wake")
    steps = policy.inputs["stepScalingPolicyConfiguration"]
    assert alarm["alarmActions"] == ["arn:aws:appautoscaling:eu-west-1:123456789012:worker-wake-1a2b3c4"]
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (1, "LessThanThreshold")
    assert (alarm["datapointsToAlarm"], alarm["evaluationPeriods"]) == (2, 3)
    assert alarm["treatMissingData"] == "notBreaching"
    namespaces = {query["metric"]["namespace"] for query in alarm["metricQueries"] if not query["returnData"]}
    assert namespaces == {"AWS/SQS"}
    assert steps["adjustmentType"] == "ChangeInCapacity"
    assert steps["stepAdjustments"] == [{"scalingAdjustment": 1, "metricIntervalUpperBound": "0"}]


# What the metrics yielded before, with each missing point filled with nought.
_FILLED_BACKLOG = "(FILL(visible, 0) + FILL(inflight, 0)) / IF(FILL(running, 0) > 0, FILL(running, 0), 1)"
_FILLED_WAKE = "IF(FILL(visible, 0) > 0 AND FILL(running, 0) < 1, 1, 0)"
# And the same without FILL: what is missing beside something else counts as nought all the same.
_UNFILLED_BACKLOG = "(visible + inflight) / IF(running > 0, running, 1)"

_POINTS = [
    # what is published          visible, inflight, running   backlog, held
    ("all of it", (600, 10, 2), 305, 10),
    ("an empty queue", (0, 0, 1), 0, 1),
    ("all of the queue in hand", (0, 9, 1), 9, 1),
    ("nobody takes a message", (1, 0, 0), None, 0),
    ("a dead task's messages", (5, 3, 0), None, 3),
    ("the task count late, or not published for no task", (1, 0, None), None, 0),
    ("the task count late in a busy service", (600, 10, None), None, 10),
    ("SQS late, or silent for hours", (None, None, 1), None, None),
    ("SQS silent and no task counted", (None, None, 0), None, None),
    ("nothing", (None, None, None), None, None),
]


@pytest.mark.parametrize(
    "counts_as_nought", [Rules(beside, in_if) for beside in (True, False) for in_if in (True, False)]
)
@pytest.mark.parametrize(("point", "backlog", "held"), [row[1:] for row in _POINTS], ids=[row[0] for row in _POINTS])
def test_what_the_expressions_yield(
    from_nought: Deployment,
    point: tuple[float | None, ...],
    backlog: float | None,
    held: float | None,
    counts_as_nought: Rules,
) -> None:
    metrics = {name: [value] for name, value in zip(("visible", "inflight", "running"), point, strict=True)}
    tracking, wake = policies_of(from_nought)
    assert evaluate(tracking.expression, metrics, counts_as_nought=counts_as_nought) == [backlog]
    assert evaluate(wake.expression, metrics, counts_as_nought=counts_as_nought) == [held]


@pytest.mark.parametrize("in_if", [True, False])
def test_no_report_of_messages_in_work_is_none_in_work(from_nought: Deployment, in_if: bool) -> None:
    metrics: dict[str, Series] = {"visible": [600], "inflight": [None], "running": [2]}
    tracking, wake = policies_of(from_nought)
    assert evaluate(tracking.expression, metrics, counts_as_nought=Rules(in_if=in_if)) == [300]
    assert evaluate(wake.expression, metrics, counts_as_nought=Rules(in_if=in_if)) == [0]


@pytest.mark.parametrize("late", [1, 2])
def test_sqs_that_is_always_late_held_back_every_alarm_before(from_nought: Deployment, late: int) -> None:
    backlog, wake = policies_of(from_nought)
    assert isinstance(backlog, TrackingPolicy) and isinstance(wake, StepPolicy)
    here, gone = [900.0] * 17, [None] * late
    busy: dict[str, Series] = {"visible": [*here, *gone], "inflight": [*here, *gone], "running": [1.0] * (17 + late)}
    assert backlog.high.state(evaluate(_FILLED_BACKLOG, busy)) == "OK"
    assert backlog.high.state(evaluate(_UNFILLED_BACKLOG, busy)) == "OK"
    assert backlog.high.state(evaluate(backlog.expression, busy)) == "ALARM"
    waiting: dict[str, Series] = {
        "visible": [*here, *gone],
        "inflight": [*([0.0] * 17), *gone],
        "running": [0.0] * (17 + late),
    }
    one_of_one = Alarm(breaches=lambda value: value >= 1, datapoints=1, periods=1, missing="notBreaching")
    assert one_of_one.state(evaluate(_FILLED_WAKE, waiting)) == "OK"
    assert wake.alarm.state(evaluate(wake.expression, waiting)) == "ALARM"


def test_by_the_task_count_nothing_wakes_a_service_that_has_none() -> None:
    metrics: dict[str, Series] = {"visible": [1], "running": [None]}
    assert evaluate("IF(visible > 0 AND running < 1, 1, 0)", metrics) == [0]


class _Day:
    """A queue, what it publishes, and the tasks that work it off: 600 messages a minute each."""

    def __init__(self, arrivals: Mapping[int, int], *, counts_nought: bool, reports_none_in_work: bool) -> None:
        self._arrivals = arrivals
        self._counts_nought = counts_nought
        self._reports_none_in_work = reports_none_in_work
        self._waiting = 0
        self._used = 0
        self._from = 0

    def __call__(self, minute: int, running: int) -> dict[str, float | None]:
        arrived = self._arrivals.get(minute, 0)
        if arrived or running or self._waiting:
            if minute - self._used > 6 * 60:
                self._from = minute + 15
            self._used = minute
        inflight = min(self._waiting, 10 * running)
        self._waiting = max(0, self._waiting - 600 * running) + arrived
        active = minute >= self._from and minute - self._used <= 6 * 60
        return {
            "ApproximateNumberOfMessagesVisible": max(0, self._waiting - inflight) if active else None,
            "ApproximateNumberOfMessagesNotVisible": (
                inflight if active and (inflight or self._reports_none_in_work) else None
            ),
            "RunningTaskCount": running if running or self._counts_nought else None,
        }


_SQS = ("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible")


@pytest.mark.parametrize("counts_nought", [True, False], ids=["nought-tasks", "no-count"])
@pytest.mark.parametrize("reports_none_in_work", [True, False], ids=["nought-in-work", "no-report"])
@pytest.mark.parametrize(("sqs_late", "count_late"), [(0, 0), (1, 0), (2, 1), (0, 2)])
def test_a_day_from_nought(
    from_nought: Deployment, counts_nought: bool, reports_none_in_work: bool, sqs_late: int, count_late: int
) -> None:
    late = {**dict.fromkeys(_SQS, sqs_late), "RunningTaskCount": count_late}
    first, after_hours, burst = 30, 30 + 8 * 60, 30 + 10 * 60
    world = _Day(
        {first: 1, after_hours: 1, **dict.fromkeys(range(burst, burst + 40), 1500)},
        counts_nought=counts_nought,
        reports_none_in_work=reports_none_in_work,
    )
    counts = simulate(
        policies_of(from_nought), world, minutes=14 * 60, bounds=(0, 5), tasks=0, late=late, start_minutes=2
    )
    assert not any(counts[:first])
    assert counts[first + 1 + sqs_late] == 1
    # A task too many is all that comes of it when SQS is later than the alarm can wait for.
    assert max(counts[first:burst]) <= (1 if sqs_late < 2 else 2)
    # All worked off, and the last task goes while SQS still publishes.
    assert not any(counts[first + 30 : after_hours])
    assert counts[after_hours + 16 + sqs_late] == 1
    assert max(counts[burst : burst + 40]) >= 3
    assert not any(counts[burst + 90 :])


@pytest.mark.parametrize(("odd", "late"), [(5, 0), (1_000, 1)], ids=["between-receives", "in-work-late"])
def test_a_busy_service_is_never_woken(from_nought: Deployment, odd: int, late: int) -> None:
    def world(minute: int, running: int) -> dict[str, float | None]:
        held = 0.0 if (minute + 1) % odd == 0 else 10.0
        return {_SQS[0]: 250.0 * running, _SQS[1]: held, "RunningTaskCount": running}

    counts = simulate(policies_of(from_nought), world, minutes=300, bounds=(0, 5), tasks=2, late={_SQS[1]: late})
    assert set(counts) == {2}


def test_where_a_task_always_runs_there_is_nothing_to_wake() -> None:
    deployment = deploy(lambda: worker(min=1, max=5))
    assert not deployment.all(":MetricAlarm")
    assert deployment.names("appautoscaling/policy:Policy") == ["worker-backlog"]


def test_cpu_plays_no_part(from_nought: Deployment) -> None:
    assert from_nought.names("appautoscaling/policy:Policy") == ["worker-backlog", "worker-wake"]
    assert "CPU" not in str(_tracking(from_nought))


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"min": 3, "max": 2}, "the nearest is min 3, max 3"),
        ({"min": 0, "max": 0}, "the nearest is min 0, max 1"),
        ({"min": -1, "max": 2}, "the nearest is min 0, max 2"),
        ({"min": 0, "max": 10**7}, "the nearest is min 0, max 5000"),
        ({"min": 0, "max": 1, "latency_seconds": 0}, "the nearest is 1"),
        ({"min": 0, "max": 1, "latency_seconds": 90_000}, "the nearest is 86400"),
        ({"min": 0, "max": 1, "message_seconds": 0}, "the nearest is 0.001"),
        ({"min": 0, "max": 1, "message_seconds": float("nan")}, "the nearest is 0.001"),
        ({"min": 0, "max": 1, "message_seconds": float("inf")}, "the nearest is 43200"),
    ],
)
def test_values_that_cannot_be_are_errors_with_a_remedy_that_works(arguments: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ArgumentError, match="allowed: ") as raised:
        deploy(lambda: BacklogScaling(queue=Queue("inbox"), **arguments))
    assert [mistake.remedy for mistake in raised.value.mistakes] == [remedy]


def test_a_message_that_takes_longer_than_it_may_wait_has_a_task_of_its_own() -> None:
    made: list[BacklogScaling] = []
    deploy(
        lambda: made.append(BacklogScaling(queue=Queue("inbox"), min=0, max=1, latency_seconds=10, message_seconds=60))
    )
    assert made[0].backlog_per_task == 1


def test_the_defaults_of_the_component_are_those_of_a_stack() -> None:
    made: list[BacklogScaling] = []
    deploy(lambda: made.append(BacklogScaling(queue=Queue("inbox"), min=0, max=1)))
    defaults = Settings()
    assert made[0].latency_seconds == defaults.worker_latency_seconds
    assert made[0].message_seconds == defaults.worker_message_seconds
