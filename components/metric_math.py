"""An expression over CloudWatch metrics, in the form of each service that takes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

_PERIOD = 60
"""Seconds; the finest at which SQS, load balancers and Container Insights publish."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; `statistic` makes one point of what was published in a minute."""

    namespace: str
    name: str
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: str = "Average"


@dataclass(frozen=True, kw_only=True)
class MetricMath:
    """An expression called `name`, over metrics by the ids that it knows them by.

    What an expression yields where a metric has no point, by AWS's documentation: arithmetic and a comparison of two
    metrics take the missing one for nought as long as the other has a point; a division by nought has no point; a
    comparison with a number has none either; `IF` has none where its condition has none, and nought where its condition
    holds and the value has none, which is said of a metric as the condition and not of a comparison. So a metric that is
    a minute late can make the newest point too low, without any FILL, and an alarm that waits for three points in a row
    then waits for ever: an expression has to have no point until all that it needs is there.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """

    name: str
    expression: str
    metrics: Mapping[str, Metric]

    def tracked(self) -> list[Any]:
        """In Application Auto Scaling's form; it takes a period of a minute as given."""
        queries = [
            {
                "id": metric_id,
                "metric_stat": {
                    "metric": {
                        "namespace": metric.namespace,
                        "metric_name": metric.name,
                        "dimensions": [{"name": key, "value": value} for key, value in metric.dimensions.items()],
                    },
                    "stat": metric.statistic,
                },
                "return_data": False,
            }
            for metric_id, metric in self.metrics.items()
        ]
        return [*queries, self._result()]

    def alarmed(self) -> list[Any]:
        """In the form of a CloudWatch alarm."""
        queries = [
            {
                "id": metric_id,
                "metric": {
                    "namespace": metric.namespace,
                    "metric_name": metric.name,
                    "dimensions": metric.dimensions,
                    "period": _PERIOD,
                    "stat": metric.statistic,
                },
                "return_data": False,
            }
            for metric_id, metric in self.metrics.items()
        ]
        return [*queries, self._result()]

    def _result(self) -> dict[str, Any]:
        return {"id": self.name, "expression": self.expression, "return_data": True}
