"""`aws.appautoscaling.Target` over a service: its bounds bring the count between them.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html: where the capacity that
there is lies outside of new bounds, Application Auto Scaling changes it to the nearest one.
"""

from __future__ import annotations

from local.providers.aws.ecs.record import records
from local.providers.aws.kept import Kept
from local.providers.kind import Created, Properties


class ScalableTarget(Kept):
    """The row of the table, and what its bounds do to a service's count."""

    def create(self, name: str, inputs: Properties) -> Created:
        created = super().create(name, inputs)
        self._bring_between(inputs)
        return created

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        self._bring_between(inputs)
        return super().update(resource_id, old, inputs)

    def _bring_between(self, inputs: Properties) -> None:
        if inputs["serviceNamespace"] != "ecs":
            return
        with records() as services:
            record = services.get(self._place.arn("ecs", str(inputs["resourceId"])))
            if record is None:
                return
            now = int(record["definition"].get("desiredCount", 0))
            count = max(int(inputs["minCapacity"]), min(now, int(inputs["maxCapacity"])))
            record["definition"]["desiredCount"] = count
            for deployment in record["deployments"]:
                if deployment["status"] == "PRIMARY":
                    deployment["desiredCount"] = count
                    if deployment["completed"]:
                        deployment["runningCount"] = record["runningCount"] = count
