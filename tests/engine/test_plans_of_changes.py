"""Plans of changes to a stack that is deployed: what they know, and what the look at ECS says in them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.engine.test_deployment import touched

SERVICE = "aws:ecs/service:Service"
QUESTION = "ECS could not be asked"


def quiet(place: Any, said: list[str], **config: Any) -> Any:
    """The place's engine with these changes of its configuration, telling what it says to `said`."""
    return dataclasses.replace(place.engine, config=config, output=said.append)


def urn_of(place: Any, kind: str, name: str) -> str:
    urns = [str(resource["urn"]) for resource in place.deployed.resources if resource["type"] == kind]
    [urn] = [urn for urn in urns if urn.endswith(f"::{name}")]
    return urn


@contextmanager
def deleted_by_hand(place: Any, service: str) -> Iterator[None]:
    """ECS does not know the service any more, the state does."""
    before = place.paths.ecs.read_text()
    records = json.loads(before)
    kept = {arn: one for arn, one in records.items() if not one["definition"]["name"].startswith(f"{service}-")}
    assert len(kept) == len(records) - 1
    place.paths.ecs.write_text(json.dumps(kept))
    try:
        yield
    finally:
        place.paths.ecs.write_text(before)


def test_what_changes_in_place_changes_nothing_that_uses_it(deployed_place: Any) -> None:
    place, _ = deployed_place
    plan = quiet(place, [], logRetentionDays=60).plan("local")
    changed = {(step["op"], step["type"]) for step in plan if step["op"] != "same"}
    # Their ARNs stand in the policies of the roles.
    assert changed == {("update", "aws:cloudwatch/logGroup:LogGroup")}


def test_a_service_that_is_not_there_is_planned_without_being_asked_for(deployed_place: Any) -> None:
    place, _ = deployed_place
    said: list[str] = []
    with deleted_by_hand(place, "worker"):
        changes = quiet(place, said).preview("local", refresh=True)
    text = "\n".join(said)
    assert changes["create"] >= 1
    assert "warning" not in text
    assert QUESTION not in text


def test_a_service_that_is_replaced_is_planned_without_being_asked_for(deployed_place: Any) -> None:
    place, _ = deployed_place
    said: list[str] = []
    urn = urn_of(place, SERVICE, "worker")
    with place.engine._stack("local", preview=True) as stack:
        result = stack.preview(replace=[urn], on_output=said.append, color="never")
    text = "\n".join(said)
    assert result.change_summary["replace"] >= 1
    assert "warning" not in text


def test_an_update_of_other_things_alone_does_not_judge_what_it_leaves(deployed_place: Any) -> None:
    place, _ = deployed_place
    emails = urn_of(place, "aws:s3/bucket:Bucket", "emails")
    with quiet(place, [], workerCpu=512)._stack("local") as stack:
        result = stack.up(target=[emails], on_event=stack.note, color="never")
    assert result.summary.resource_changes["same"] > 0
    assert touched(result.summary.resource_changes) == {}
