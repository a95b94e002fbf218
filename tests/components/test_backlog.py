from __future__ import annotations

from typing import Any

import pytest

from components import ArgumentError, BacklogScaling, Queue
from components.settings import Settings
from tests.components.deployment import Deployment, deploy, deploy_twice
from tests.components.test_worker_service import worker


@pytest.fixture(scope="module")
def from_nought() -> Deployment:
    return deploy_twice(lambda: worker(min=0, max=5, latency_seconds=30, message_seconds=0.1))


def _tracking(deployment: Deployment) -> Any:
    policy = deployment.one("appautoscaling/policy:Policy", "worker-backlog")
    return policy.inputs["targetTrackingScalingPolicyConfiguration"]


def test_a_task_may_have_as_many_messages_before_it_as_it_works_off_in_the_latency(from_nought: Deployment) -> None:
    assert _tracking(from_nought)["targetValue"] == pytest.approx(300)


def test_the_backlog_counts_messages_in_work_and_never_divides_by_nought(from_nought: Deployment) -> None:
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
    expression = metrics["backlog"]["expression"]
    assert "visible" in expression and "inflight" in expression
    assert "IF(FILL(running, 0) > 0, FILL(running, 0), 1)" in expression


def test_the_metrics_are_of_this_queue_and_this_service(from_nought: Deployment) -> None:
    metrics = {metric["id"]: metric for metric in _tracking(from_nought)["customizedMetricSpecification"]["metrics"]}

    def dimensions(metric_id: str) -> dict[str, str]:
        return {item["name"]: item["value"] for item in metrics[metric_id]["metricStat"]["metric"]["dimensions"]}

    assert dimensions("visible") == dimensions("inflight") == {"QueueName": "inbox-1a2b3c4"}
    assert dimensions("running") == {"ClusterName": "cluster-1a2b3c4", "ServiceName": "worker-1a2b3c4"}


def test_from_nought_the_first_waiting_message_starts_a_task(from_nought: Deployment) -> None:
    alarm = from_nought.one(":MetricAlarm").inputs
    policy = from_nought.one("appautoscaling/policy:Policy", "worker-wake")
    steps = policy.inputs["stepScalingPolicyConfiguration"]
    assert alarm["alarmActions"] == ["arn:aws:appautoscaling:eu-west-1:123456789012:worker-wake-1a2b3c4"]
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    assert alarm["treatMissingData"] == "notBreaching"
    (expression,) = [query["expression"] for query in alarm["metricQueries"] if query["returnData"]]
    assert expression == "IF(FILL(visible, 0) > 0 AND FILL(running, 0) < 1, 1, 0)"
    assert steps["adjustmentType"] == "ChangeInCapacity"
    assert steps["stepAdjustments"] == [{"scalingAdjustment": 1, "metricIntervalLowerBound": "0"}]


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
