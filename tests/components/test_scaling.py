from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from components import ArgumentError, Scaling
from tests.components import parts
from tests.components.autoscaling import Policy, TrackingPolicy, World, changes, policies_of, simulate
from tests.components.deployment import Deployment, deploy, deploy_twice
from tests.components.metric_math import DOCUMENTED, Rules, evaluate


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


def test_requests_add_as_measured_and_no_requests_count_as_none(scaled: Deployment) -> None:
    tracked = {
        policy.name: policy.inputs["targetTrackingScalingPolicyConfiguration"]
        for policy in scaled.all("aws:appautoscaling/policy:Policy")
    }
    assert {name: policy["disableScaleIn"] for name, policy in tracked.items() if "disableScaleIn" in policy} == {
        "api-cpu": False,
        "api-requests": True,
    }
    assert tracked["api-idle"]["targetValue"] == tracked["api-requests"]["targetValue"]
    of_the_group = [
        {"name": "LoadBalancer", "value": "suffix/api-alb-1a2b3c4"},
        {"name": "TargetGroup", "value": "suffix/api-tg-1a2b3c4"},
    ]
    assert [
        (stat["metric"]["namespace"], stat["metric"]["metricName"], stat["stat"], stat["metric"]["dimensions"])
        for query in tracked["api-idle"]["customizedMetricSpecification"]["metrics"]
        for stat in [query.get("metricStat")]
        if stat
    ] == [
        ("AWS/ApplicationELB", "HealthyHostCount", "Average", of_the_group),
        ("AWS/ApplicationELB", "RequestCountPerTarget", "Sum", of_the_group),
    ]


_POINTS = [
    # what is published                      hosts, requests, load
    ("requests", (3, 200), 200),
    ("a nought for no request", (3, 0), 0),
    ("nothing for no request", (3, None), 0),
    ("the load balancer late", (None, None), None),
    ("the hosts late", (None, 200), None),
    ("no healthy host", (0, None), None),
]


@pytest.mark.parametrize(
    "counts_as_nought",
    [DOCUMENTED, Rules(beside=False), Rules(in_if=False)],
    ids=["documented", "left-out", "not-in-if"],
)
@pytest.mark.parametrize(("point", "load"), [row[1:] for row in _POINTS], ids=[row[0] for row in _POINTS])
def test_what_the_expression_yields(
    scaled: Deployment, point: tuple[float | None, ...], load: float | None, counts_as_nought: Rules
) -> None:
    idle = _policies(scaled)["api-idle"]
    metrics = {name: [value] for name, value in zip(("hosts", "requests"), point, strict=True)}
    assert evaluate(idle.expression, metrics, counts_as_nought=counts_as_nought) == [load]


def _policies(deployment: Deployment) -> dict[str, TrackingPolicy]:
    return {policy.name: policy for policy in policies_of(deployment) if isinstance(policy, TrackingPolicy)}


def _as_before(deployment: Deployment) -> list[Policy]:
    """Both tracking policies, each adding and taking away, and nothing for a minute without requests."""
    policies = _policies(deployment)
    return [policies["api-cpu"], replace(policies["api-requests"], adds_only=False)]


def _api(load: Callable[[int], float], *, cpu_per_request: float = 0.001, reports_nought: bool = False) -> World:
    """An API with so many requests in a minute; `cpu_per_request` is in percent of a task's minute."""

    def world(minute: int, running: int) -> dict[str, float | None]:
        each = load(minute) / running
        return {
            "CPUUtilization": 1 + each * cpu_per_request,
            "HealthyHostCount": running,
            "RequestCountPerTarget": each if each or reports_nought else None,
        }

    return world


def _counts(policies: Iterable[Policy], world: World, **arguments: Any) -> list[int]:
    return simulate(list(policies), world, **{"minutes": 180, "bounds": (2, 9), "tasks": 2, **arguments})


@pytest.mark.parametrize("reports_nought", [True, False], ids=["noughts", "nothing"])
def test_a_night_without_requests_leaves_the_fewest_tasks(scaled: Deployment, reports_nought: bool) -> None:
    night = _api(lambda minute: 2000 if minute < 60 else 0, reports_nought=reports_nought)
    counts = _counts(_policies(scaled).values(), night)
    assert counts[50] == 7
    assert counts[-1] == 2
    # If no request is no point, it was to run all of them for ever: scaling in takes every policy's consent.
    assert _counts(_as_before(scaled), night)[-1] == (2 if reports_nought else 7)


@pytest.mark.parametrize("share", [0.7, 0.85, 0.95, 1.0])
@pytest.mark.parametrize("cpu_per_request", [0.001, 0.15], ids=["waits", "computes"])
def test_a_steady_load_settles(scaled: Deployment, share: float, cpu_per_request: float) -> None:
    counts = _counts(_policies(scaled).values(), _api(lambda _: 5 * 300 * share, cpu_per_request=cpu_per_request))
    assert 5 * share <= counts[-1] <= 5
    assert changes(counts[60:]) == 0


def test_cpu_alone_would_take_away_what_requests_ask_for(scaled: Deployment) -> None:
    policies = _policies(scaled)
    waits = _api(lambda _: 5 * 300)
    assert changes(_counts([policies["api-cpu"], policies["api-requests"]], waits)[60:]) > 0
    assert changes(_counts(policies.values(), waits)[60:]) == 0


def test_fewer_requests_take_tasks_away_as_far_as_the_rest_allow(scaled: Deployment) -> None:
    counts = _counts(_policies(scaled).values(), _api(lambda minute: 2000 if minute < 60 else 900))
    assert counts[50] == 7
    assert counts[-1] == 3
    assert changes(counts[120:]) == 0


@pytest.mark.parametrize(
    "late",
    [
        {"RequestCountPerTarget": 1},
        {"RequestCountPerTarget": 2, "HealthyHostCount": 2},
        {"HealthyHostCount": 2},
        {"CPUUtilization": 2},
    ],
    ids=["requests", "the-load-balancer", "hosts", "cpu"],
)
def test_a_late_metric_stops_neither_direction(scaled: Deployment, late: dict[str, int]) -> None:
    policies = _policies(scaled)
    counts = _counts(policies.values(), _api(lambda minute: 2000 if 10 < minute < 70 else 0), late=late)
    # More than needed for a while: what has just been added is not seen at work yet.
    assert max(counts[20:70]) >= 7
    assert counts[-1] == 2


def test_only_what_is_measured_may_add(scaled: Deployment) -> None:
    policies = _policies(scaled)
    late = {"RequestCountPerTarget": 1}
    alone = [policies["api-cpu"], policies["api-idle"]]
    assert set(_counts(alone, _api(lambda _: 2000), late=late)) == {2}


def test_trap_11_the_scaler_is_replaced_together_with_the_service(scaled: Deployment) -> None:
    scalers = [*scaled.all("appautoscaling/target:Target"), *scaled.all("appautoscaling/policy:Policy")]
    assert len(scalers) == 4
    for resource in scalers:
        (urn,) = resource.options.replace_with
        assert urn.endswith("aws:ecs/service:Service::api")


def test_with_equal_bounds_nothing_is_scaled() -> None:
    deployment = deploy(lambda: parts.api(scaling=Scaling(min=2, max=2)))
    assert not deployment.all("aws:appautoscaling/policy:Policy")


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
