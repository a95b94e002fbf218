"""The program after a rollout that has failed: the next `up` deploys or fails, and is never green over what does not run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from local.engine import EngineFailed

SERVICE = "aws:ecs/service:Service"


def refreshing(place: Any) -> Any:
    """As Pulumi.yaml asks for on AWS, each run reads first what there is."""
    place.engine = dataclasses.replace(place.engine, refreshes=True)
    return place


@pytest.fixture(autouse=True)
def no_wait_for_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # What lags on AWS is there at once here.
    monkeypatch.setattr("components.ecs_service.settling_seconds", lambda pace: 0)


def fail(place: Any, **reasons: str) -> None:
    """From now on new tasks of these services fail, and those of no other."""
    place.paths.ecs_faults.write_text(json.dumps(reasons))


def runs(place: Any) -> tuple[int, int]:
    """The task definition's revision and the number of tasks that the worker's service really runs."""
    records = json.loads(place.paths.ecs.read_text()).values()
    [worker] = [one for one in records if one["definition"]["name"].startswith("worker-")]
    return int(worker["definition"]["taskDefinition"].rpartition(":")[2]), worker["runningCount"]


def test_an_update_that_was_rolled_back_is_tried_again_until_it_runs(changed_place: Any) -> None:
    place = refreshing(changed_place)
    revision, _ = runs(place)
    assert runs(place) == (revision, 1)
    fail(place, worker="tasks failed to start")
    for _ in range(2):
        with pytest.raises(EngineFailed):
            place.changes(workerCpu=512)
        assert runs(place) == (revision, 1)
    fail(place)
    assert place.changes(workerCpu=512)["update"] == 1
    assert runs(place) == (revision + 1, 1)
    assert "update" not in place.changes(workerCpu=512)


def test_a_service_whose_first_tasks_failed_is_not_green_before_it_runs_them(place: Any) -> None:
    refreshing(place)
    fail(place, worker="tasks failed to start")
    for _ in range(2):
        with pytest.raises(EngineFailed):
            place.changes()
        assert runs(place) == (1, 0)
    # ECS starts nothing more of a deployment that has failed: only another one does.
    fail(place)
    with pytest.raises(EngineFailed):
        place.changes()
    place.changes(workerCpu=512)
    assert runs(place) == (2, 1)
