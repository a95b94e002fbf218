from __future__ import annotations

import itertools

import pytest

from components.service_timeouts import Pace, timeouts


def minutes(pace: Pace) -> tuple[int, int, int]:
    bounds = timeouts(pace)
    create, update, delete = (str(bound) for bound in (bounds.create, bounds.update, bounds.delete))
    assert all(bound.endswith("m") for bound in (create, update, delete))
    return int(create[:-1]), int(update[:-1]), int(delete[:-1])


API = {"healthy_seconds": 90, "stop_timeout_seconds": 60, "release_seconds": 60}
WORKER = {"healthy_seconds": 60, "stop_timeout_seconds": 60, "protection_seconds": 900}


@pytest.mark.parametrize(
    ("pace", "bounds"),
    [
        # One task: three attempts of 450 s, one after the other, are more than the breaker was seen to take.
        (Pace(tasks=1, **API), (28, 32, 20)),
        # From three tasks on all attempts are one round, so the breaker's own 18 minutes count.
        (Pace(tasks=3, **API), (24, 28, 20)),
        (Pace(tasks=1000, **API), (24, 28, 20)),
        # A busy worker holds up the deployment, and the way back, for as long as it may protect itself.
        (Pace(tasks=1, **WORKER), (23, 55, 20)),
        # From nought is as from one.
        (Pace(tasks=0, **WORKER), (23, 55, 20)),
        (Pace(tasks=2, **{**WORKER, "protection_seconds": 7200}), (23, 265, 125)),
        # Two of ten at a time are five waves.
        (Pace(tasks=10, maximum_percent=120, **API), (24, 58, 20)),
        # Without room above, nor below, one is taken to be replaced at a time.
        (Pace(tasks=2, maximum_percent=100, minimum_percent=100, **API), (24, 35, 20)),
    ],
)
def test_bounds_follow_from_what_a_service_is_made_of(pace: Pace, bounds: tuple[int, int, int]) -> None:
    assert minutes(pace) == bounds


def test_no_bound_is_below_the_provider_s_nor_beyond_what_the_longest_parts_need() -> None:
    # ECS's own limits: two days of protection, an hour of deregistration, two minutes to stop.
    longest = Pace(
        tasks=1, healthy_seconds=600, stop_timeout_seconds=120, release_seconds=3600, protection_seconds=172_800
    )
    assert max(minutes(longest)) < 5 * 24 * 60
    assert min(minutes(Pace(tasks=1, healthy_seconds=0, stop_timeout_seconds=1))) == 20


def test_longer_parts_never_make_a_shorter_bound() -> None:
    grown = ("healthy_seconds", "stop_timeout_seconds", "release_seconds", "protection_seconds")
    for part, tasks in itertools.product(grown, (0, 1, 2, 3, 50)):
        base = {"tasks": tasks, **API, "protection_seconds": 600}
        longer = {**base, part: base[part] + 300}
        assert all(a <= b for a, b in zip(minutes(Pace(**base)), minutes(Pace(**longer)), strict=True))
