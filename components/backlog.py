"""Scaling on a queue: so many tasks that no message waits longer than it may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.cluster import Cluster
from components.queue import Queue
from components.scaling import (
    SCALE_IN_COOLDOWN,
    SCALE_OUT_COOLDOWN,
    Scaler,
    Steps,
    Tracking,
    bounds_mistake,
    check_scaling,
    range_mistake,
)

_Metric = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricArgs
_MetricMath = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationArgs

_PERIOD = 60
"""Seconds; the finest at which SQS and Container Insights publish."""

_BACKLOG = "(FILL(visible, 0) + FILL(inflight, 0)) / IF(FILL(running, 0) > 0, FILL(running, 0), 1)"
_WAITING_FOR_NOBODY = "IF(FILL(visible, 0) > 0 AND FILL(running, 0) < 1, 1, 0)"


@dataclass(frozen=True, kw_only=True)
class BacklogScaling:
    """Between `min` (0 is allowed) and `max` tasks, so many that a message of `queue` waits `latency_seconds` at most.

    A task is taken to work off one message in `message_seconds`, all its threads counted, so that each may have
    `latency_seconds / message_seconds` messages before it. CPU plays no part: a worker that waits for S3 is busy
    without it. The default is on the safe side, where tasks are added early rather than late: the benchmark's worker
    takes 0.3 ms of a whole core for a small message, which is 1.3 ms of the quarter that a task has by default, and
    slower processors, slower puts and larger messages may take several times that. Raises ArgumentError
    for values that cannot be.
    """

    queue: Queue
    min: int
    max: int
    latency_seconds: int = 60
    message_seconds: float = 0.01

    def __post_init__(self) -> None:
        check_scaling(
            "BacklogScaling",
            bounds_mistake("min, max", self.min, self.max, lowest=0),
            range_mistake("latency_seconds", self.latency_seconds, 1, 86_400),
            range_mistake("message_seconds", self.message_seconds, 0.001, 43_200),
        )

    @property
    def backlog_per_task(self) -> float:
        """Messages, waiting or in work, that each running task may have."""
        return max(1.0, self.latency_seconds / self.message_seconds)


def scale_on_backlog(
    name: str,
    scaling: BacklogScaling,
    *,
    cluster: Cluster,
    service: aws.ecs.Service,
    options: Callable[..., pulumi.ResourceOptions],
) -> None:
    """Adds the scaler of a service that works off a queue.

    The backlog per task is computed by CloudWatch from SQS's counts and Container Insights' task count, so that nothing
    has to publish a metric. Messages in work count: tasks that have all of a queue in hand must not be taken away.
    """
    scaler = Scaler(name, minimum=scaling.min, maximum=scaling.max, cluster=cluster, service=service, options=options)
    metrics = _Metrics(queue=scaling.queue.queue.name, cluster=cluster.cluster_name, service=service.name)
    scaler.add(
        "backlog",
        tracking=Tracking(
            target_value=scaling.backlog_per_task,
            customized_metric_specification=_MetricMath(
                metrics=[*metrics.tracked(), _Metric(id="backlog", expression=_BACKLOG, return_data=True)]
            ),
            scale_out_cooldown=SCALE_OUT_COOLDOWN,
            scale_in_cooldown=SCALE_IN_COOLDOWN,
        ),
    )
    if scaling.min == 0:
        _wake(name, scaler, metrics, options)


def _wake(name: str, scaler: Scaler, metrics: _Metrics, options: Callable[..., pulumi.ResourceOptions]) -> None:
    """Starts the first task. Target tracking multiplies the running count, and nought stays nought."""
    policy = scaler.add(
        "wake",
        steps=Steps(
            adjustment_type="ChangeInCapacity",
            metric_aggregation_type="Maximum",
            cooldown=SCALE_OUT_COOLDOWN,
            step_adjustments=[
                aws.appautoscaling.PolicyStepScalingPolicyConfigurationStepAdjustmentArgs(
                    scaling_adjustment=1, metric_interval_lower_bound="0"
                )
            ],
        ),
    )
    aws.cloudwatch.MetricAlarm(
        f"{name}-wake-alarm",
        alarm_description="Messages wait and no task runs",
        comparison_operator="GreaterThanOrEqualToThreshold",
        threshold=1,
        evaluation_periods=1,
        treat_missing_data="notBreaching",
        metric_queries=[*metrics.alarmed(), {"id": "wake", "expression": _WAITING_FOR_NOBODY, "return_data": True}],
        alarm_actions=[policy.arn],
        opts=options(),
    )


@dataclass(frozen=True)
class _Metrics:
    queue: pulumi.Input[str]
    cluster: pulumi.Input[str]
    service: pulumi.Input[str]

    def _sources(self) -> dict[str, tuple[str, str, dict[str, pulumi.Input[str]]]]:
        queue = {"QueueName": self.queue}
        service = {"ClusterName": self.cluster, "ServiceName": self.service}
        return {
            "visible": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue),
            "inflight": ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", queue),
            "running": ("ECS/ContainerInsights", "RunningTaskCount", service),
        }

    def tracked(self) -> list[Any]:
        """The metrics in Application Auto Scaling's form; it takes a period of a minute as given."""
        return [
            {
                "id": metric_id,
                "metric_stat": {
                    "metric": {
                        "namespace": namespace,
                        "metric_name": metric,
                        "dimensions": [{"name": key, "value": value} for key, value in dimensions.items()],
                    },
                    "stat": "Average",
                },
                "return_data": False,
            }
            for metric_id, (namespace, metric, dimensions) in self._sources().items()
        ]

    def alarmed(self) -> list[Any]:
        """The metrics in CloudWatch's form."""
        return [
            {
                "id": metric_id,
                "metric": {
                    "namespace": namespace,
                    "metric_name": metric,
                    "dimensions": dimensions,
                    "period": _PERIOD,
                    "stat": "Average",
                },
                "return_data": False,
            }
            for metric_id, (namespace, metric, dimensions) in self._sources().items()
            if metric_id != "inflight"
        ]
