"""Scaling on a queue: so many tasks that no message waits longer than it may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pulumi
import pulumi_aws as aws

from components.arguments import Between, check_fields
from components.cluster import Cluster
from components.metric_math import Metric, MetricMath
from components.queue import MAX_VISIBILITY_TIMEOUT_SECONDS, Queue
from components.scaling import Scaler, Steps, check_bounds, computed

LatencySeconds = Annotated[int, Between(1, 86_400)]
MessageSeconds = Annotated[float, Between(0.001, MAX_VISIBILITY_TIMEOUT_SECONDS)]

_BACKLOG = "(visible + inflight) / IF(visible >= 0, running)"
"""Messages per running task: a point where SQS and Container Insights both have one, and none where either is late.

The divisor is missing or nought while `visible` or `running` is missing, or no task runs, and what is divided by nought
has no point. The plain `(visible + inflight) / running` is nought in the newest minute whenever SQS comes later than the
task count, just as with FILL. A missing `inflight` beside a `visible` counts as none, which is what it means: it is
"reported if in-flight messages exist".
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

_HELD = "IF(visible > 0, 0 * visible + inflight, 1)"
"""Messages in work while messages wait: below 1 nobody takes them. The newest of SQS alone, or no point.

Not by the task count: the documentation does not say that Container Insights publishes nought for a service that has no
task, and a comparison with a metric that has no point has none. Not by `visible` alone: that would add tasks to a busy
service up to its maximum. No report of messages in work means none (see `_BACKLOG`), and `0 * visible` makes a nought of
it: the documentation says that IF does so for a metric as its condition, and not that it does for a comparison.
"""

_WAKE_COOLDOWN = 300
"""Seconds. The alarm asks for another task each minute that it lasts, so it must be able to see the first one at work:
two minutes to start, one until SQS publishes that, and two of three points that are good."""


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
    latency_seconds: LatencySeconds = 60
    message_seconds: MessageSeconds = 0.01

    def __post_init__(self) -> None:
        check_fields(self)
        check_bounds("BacklogScaling", self.min, self.max, lowest=0)

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
    if scaling.min == scaling.max:
        return
    sqs = _sqs(scaling.queue)
    running = Metric(
        namespace="ECS/ContainerInsights",
        name="RunningTaskCount",
        dimensions={"ClusterName": cluster.cluster_name, "ServiceName": service.name},
    )
    backlog = MetricMath(name="backlog", expression=_BACKLOG, metrics={**sqs, "running": running})
    scaler.add("backlog", tracking=computed(backlog, scaling.backlog_per_task))
    if scaling.min == 0:
        _wake(name, scaler, MetricMath(name="held", expression=_HELD, metrics=sqs), options)


def _wake(name: str, scaler: Scaler, held: MetricMath, options: Callable[..., pulumi.ResourceOptions]) -> None:
    """Starts the first task, which one message is far from asking for where a task may have thousands.

    Within three minutes of the message as long as SQS publishes. It stops for a queue that nothing has used for six
    hours, and may take 15 minutes to begin again. Messages in the hands of a task that died hold the alarm back for a
    visibility timeout at most. Tasks that run and receive nothing are not told from none: each cooldown adds one.
    Two points of three, because one may be odd: the moment between two receives of a busy service.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/monitoring-using-cloudwatch.html
    """
    policy = scaler.add(
        "wake",
        steps=Steps(
            adjustment_type="ChangeInCapacity",
            # Of the points that the alarm looked at, one that breaches: the step is for none but those.
            metric_aggregation_type="Minimum",
            cooldown=_WAKE_COOLDOWN,
            step_adjustments=[
                aws.appautoscaling.PolicyStepScalingPolicyConfigurationStepAdjustmentArgs(
                    scaling_adjustment=1, metric_interval_upper_bound="0"
                )
            ],
        ),
    )
    aws.cloudwatch.MetricAlarm(
        f"{name}-wake-alarm",
        alarm_description="Messages wait and none is in work",
        comparison_operator="LessThanThreshold",
        threshold=1,
        datapoints_to_alarm=2,
        evaluation_periods=3,
        treat_missing_data="notBreaching",
        metric_queries=held.alarmed(),
        alarm_actions=[policy.arn],
        opts=options(),
    )


def _sqs(queue: Queue) -> dict[str, Metric]:
    dimensions = {"QueueName": queue.queue.name}
    return {
        "visible": Metric(namespace="AWS/SQS", name="ApproximateNumberOfMessagesVisible", dimensions=dimensions),
        "inflight": Metric(namespace="AWS/SQS", name="ApproximateNumberOfMessagesNotVisible", dimensions=dimensions),
    }
