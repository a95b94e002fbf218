"""The program after a rollout that has failed: the next `up` deploys or fails, and is never green over what does not run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from local.engine import EngineFailed

SERVICE = "aws:ecs/service:Service"


@pytest.fixture
def place(place: Any) -> Any:
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


def runs(place: Any) -> tuple[str, int]:
    """The task definition and the number of tasks that the worker's service really runs."""
    records = json.loads(place.paths.ecs.read_text()).values()
    [worker] = [one for one in records if one["definition"]["name"].startswith("worker-")]
    return worker["definition"]["taskDefinition"].rpartition(":")[2], worker["runningCount"]


def test_an_update_that_was_rolled_back_is_tried_again_until_it_runs(place: Any) -> None:
    place.up()
    assert runs(place) == ("1", 1)
    fail(place, worker="tasks failed to start")
    for _ in range(2):
        with pytest.raises(EngineFailed):
            place.up(workerCpu=512)
        assert runs(place) == ("1", 1)
    fail(place)
    changed = place.up(workerCpu=512).changes
    assert changed["update"] == 1
    assert runs(place) == ("2", 1)
    assert "update" not in place.up(workerCpu=512).changes


def test_a_service_whose_first_tasks_failed_is_not_green_before_it_runs_them(place: Any) -> None:
    fail(place, worker="tasks failed to start")
    for _ in range(2):
        with pytest.raises(EngineFailed):
            place.up()
        assert runs(place) == ("1", 0)
    # ECS starts nothing more of a deployment that has failed: only another one does.
    fail(place)
    with pytest.raises(EngineFailed):
        place.up()
    place.up(workerCpu=512)
    assert runs(place) == ("2", 1)
