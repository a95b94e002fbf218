from __future__ import annotations

from collections.abc import Callable

import pytest

from components import ArgumentError, Scaling
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice


@pytest.fixture(scope="module")
def scaled() -> Deployment:
    scaling = Scaling(min=2, max=9, cpu_target=55, requests_per_task=300)
    return deploy_twice(lambda: parts.api(scaling=scaling))


def test_the_service_is_what_is_scaled_between_its_bounds(scaled: Deployment) -> None:
    target = scaled.one("aws:appautoscaling/target:Target").inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 9)
    assert target["resourceId"] == "service/cluster-1a2b3c4/api-1a2b3c4"
    assert target["scalableDimension"] == "ecs:service:DesiredCount"


def test_cpu_and_requests_are_tracked(scaled: Deployment) -> None:
    tracked = {
        policy.name: policy.inputs["targetTrackingScalingPolicyConfiguration"]
        for policy in scaled.all("aws:appautoscaling/policy:Policy")
    }
    assert tracked["api-cpu"]["targetValue"] == 55
    assert tracked["api-cpu"]["predefinedMetricSpecification"] == {
        "predefinedMetricType": "ECSServiceAverageCPUUtilization"
    }
    assert tracked["api-requests"]["targetValue"] == 300
    assert tracked["api-requests"]["predefinedMetricSpecification"] == {
        "predefinedMetricType": "ALBRequestCountPerTarget",
        "resourceLabel": "suffix/api-alb-1a2b3c4/suffix/api-tg-1a2b3c4",
    }
    assert all(policy["scaleInCooldown"] > policy["scaleOutCooldown"] for policy in tracked.values())


def test_trap_11_the_scaler_is_replaced_together_with_the_service(scaled: Deployment) -> None:
    scalers = [*scaled.all("appautoscaling/target:Target"), *scaled.all("appautoscaling/policy:Policy")]
    assert len(scalers) == 3
    for resource in scalers:
        (urn,) = resource.options.replace_with
        assert urn.endswith("aws:ecs/service:Service::api")


def test_with_equal_bounds_nothing_is_scaled() -> None:
    deployment = deploy(lambda: parts.api(scaling=Scaling(min=2, max=2)))
    assert not [resource for resource in deployment.resources if "appautoscaling" in resource.type]


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: Scaling(min=0, max=1), "the nearest is min 1, max 1"),
        (lambda: Scaling(min=0, max=0), "the nearest is min 1, max 1"),
        (lambda: Scaling(min=3, max=2), "the nearest is min 3, max 3"),
        (lambda: Scaling(min=-1, max=-1), "the nearest is min 1, max 1"),
        (lambda: Scaling(min=1, max=2, cpu_target=95), "the nearest is 90"),
        (lambda: Scaling(min=1, max=2, cpu_target=-5), "the nearest is 10"),
        (lambda: Scaling(min=1, max=2, requests_per_task=0), "the nearest is 1"),
    ],
)
def test_values_that_cannot_be_are_errors_with_a_remedy_that_works(make: Callable[[], Scaling], remedy: str) -> None:
    with pytest.raises(ArgumentError, match="allowed: ") as raised:
        make()
    assert [mistake.remedy for mistake in raised.value.mistakes] == [remedy]
