"""How many tasks a service with requests runs, and the scaler that any service can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pulumi
import pulumi_aws as aws

from components.arguments import Between, check_fields
from components.cluster import Cluster
from components.errors import ArgumentError, Mistake
from components.metric_math import Metric, MetricMath

_CustomizedMetric = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationArgs

Tracking = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgs
Steps = aws.appautoscaling.PolicyStepScalingPolicyConfigurationArgs

MOST_TASKS = 5_000
"""Tasks of a service. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""

CpuTarget = Annotated[int, Between(10, 90)]
RequestsPerTask = Annotated[int, Between(1, 1_000_000)]

SCALE_OUT_COOLDOWN = 60
SCALE_IN_COOLDOWN = 180
"""Seconds. Quick to add and slow to take away: a task too many costs little, one too few costs requests."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Between `min` and `max` tasks, by CPU and by requests; with `min` equal to `max` the count is fixed.

    `cpu_target` is the service's average CPU use in percent (10 to 90); `requests_per_task` is how many requests a
    minute each task is to get. Whichever asks for more tasks wins, and tasks are taken away when both are far enough
    below (a minute without requests is one with none). Raises ArgumentError for values that cannot be.
    """

    min: int
    max: int
    cpu_target: CpuTarget = 60
    requests_per_task: RequestsPerTask = 600

    def __post_init__(self) -> None:
        check_fields(self)
        check_bounds("Scaling", self.min, self.max, lowest=1)


class Scaler:
    """The scalable target of a service, to which policies are added; with equal bounds and none, the count is fixed.

    Application Auto Scaling brings the count between the bounds when they change, so that a count changes without an
    update of the service, which would restart its tasks, and switching scaling off sets the count back.
    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html

    AWS drops targets and policies of a service that is replaced, and the state would not notice
    (hashicorp/terraform-provider-aws#9473): so they are replaced together with it.
    """

    def __init__(
        self,
        name: str,
        *,
        minimum: int,
        maximum: int,
        cluster: Cluster,
        service: aws.ecs.Service,
        options: Callable[..., pulumi.ResourceOptions],
    ) -> None:
        self._name = name
        self._service = service
        self._options = options
        self._target = aws.appautoscaling.Target(
            f"{name}-scaling",
            min_capacity=minimum,
            max_capacity=maximum,
            resource_id=pulumi.Output.concat("service/", cluster.cluster_name, "/", service.name),
            scalable_dimension="ecs:service:DesiredCount",
            service_namespace="ecs",
            opts=options(replace_with=[service]),
        )

    def add(
        self, what: str, *, tracking: Tracking | None = None, steps: Steps | None = None
    ) -> aws.appautoscaling.Policy:
        """Adds a target tracking or a step scaling policy called `<name>-<what>`."""
        return aws.appautoscaling.Policy(
            f"{self._name}-{what}",
            policy_type="TargetTrackingScaling" if tracking is not None else "StepScaling",
            resource_id=self._target.resource_id,
            scalable_dimension=self._target.scalable_dimension,
            service_namespace=self._target.service_namespace,
            target_tracking_scaling_policy_configuration=tracking,
            step_scaling_policy_configuration=steps,
            opts=self._options(replace_with=[self._service]),
        )


def predefined(
    metric: str, target: float, resource_label: pulumi.Input[str] | None = None, *, adds_only: bool = False
) -> Tracking:
    """Target tracking of one of Application Auto Scaling's own metrics; with `adds_only` it takes no tasks away."""
    return Tracking(
        target_value=target,
        predefined_metric_specification=(
            aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
                predefined_metric_type=metric, resource_label=resource_label
            )
        ),
        disable_scale_in=adds_only,
        scale_out_cooldown=SCALE_OUT_COOLDOWN,
        scale_in_cooldown=SCALE_IN_COOLDOWN,
    )


def computed(math: MetricMath, target: float) -> Tracking:
    """Target tracking of what CloudWatch computes of several metrics."""
    return Tracking(
        target_value=target,
        customized_metric_specification=_CustomizedMetric(metrics=math.tracked()),
        scale_out_cooldown=SCALE_OUT_COOLDOWN,
        scale_in_cooldown=SCALE_IN_COOLDOWN,
    )


def requests_or_none(load_balancer: pulumi.Input[str], target_group: pulumi.Input[str]) -> MetricMath:
    """Requests a minute for each task, nought where there was none; takes the ARN suffixes of both.

    The documentation is of two minds about a minute without a request: `RequestCountPerTarget` is "always reported",
    and "if there are no requests ... the metric is not reported" (one page says both). If it is not, tracking it alone
    never takes tasks away: "it does not interpret insufficient data as low utilization", and all policies that may
    take away must agree to it. `HealthyHostCount` is reported as long as there are health checks, and `0 * hosts`
    makes a nought of requests that are missing beside it, as `IF` by itself may or may not: right either way, without a
    FILL, and without a point while the load balancer's metrics are late altogether.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-autoscaling-targettracking.html
    """
    dimensions = {"LoadBalancer": load_balancer, "TargetGroup": target_group}
    return MetricMath(
        name="load",
        expression="IF(hosts > 0, 0 * hosts + requests)",
        metrics={
            "hosts": Metric(namespace="AWS/ApplicationELB", name="HealthyHostCount", dimensions=dimensions),
            # Its Sum is the average over the targets, and its only valid statistic.
            "requests": Metric(
                namespace="AWS/ApplicationELB", name="RequestCountPerTarget", dimensions=dimensions, statistic="Sum"
            ),
        },
    )


def check_bounds(kind: str, minimum: int, maximum: int, *, lowest: int) -> None:
    """Raises ArgumentError for a pair of bounds on the number of tasks that cannot be."""
    mistake = bounds_mistake("min, max", minimum, maximum, lowest=lowest)
    if mistake is not None:
        raise ArgumentError(kind, mistake)


def bounds_mistake(name: str, minimum: int, maximum: int, *, lowest: int) -> Mistake | None:
    """What is wrong with a pair of bounds on the number of tasks."""
    if lowest <= minimum <= maximum and 1 <= maximum <= MOST_TASKS:
        return None
    nearest = min(max(minimum, lowest), MOST_TASKS)
    return Mistake(
        name=name,
        value=f"min {minimum}, max {maximum}",
        allowed=f"min from {lowest}, max from 1 to {MOST_TASKS:,}, and min not above max",
        remedy=f"the nearest is min {nearest}, max {min(max(maximum, nearest, 1), MOST_TASKS)}",
    )
