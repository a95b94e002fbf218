"""What a refresh, a kept plan and a second run change of each stack: nothing.

Every stack is deployed in the embedded AWS. As on AWS, `Pulumi.yaml` makes the engine refresh before each plan and update.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.providers.refresh import is_write_only
from local.runner.stack import reveal
from tests.engine.conftest import place_in
from tests.engine.test_deployment import touched


@pytest.fixture(scope="module")
def cloud_place(tmp_path_factory: pytest.TempPathFactory, executable: Path) -> Iterator[Any]:
    """One embedded AWS for every stack here: their names tell them apart, as in an account."""
    with place_in(tmp_path_factory.mktemp("drift") / "local", executable) as place:
        yield place


@pytest.mark.parametrize("stack", ["local", "staging", "prod"])
def test_nothing_changes_that_has_not_changed(stack: str, tmp_path: Path, cloud_place: Any, figures: Any) -> None:
    engine, plan = dataclasses.replace(cloud_place.engine, refreshes=True), tmp_path / "plan.json"
    # A plan that is kept is carried out: the program registers again what it has registered for the plan.
    planned = engine.preview(stack, quiet=True, save_plan=plan)
    created = engine.up(stack, plan=plan)
    assert set(created) == {"create"}
    assert created == planned
    first = registered(engine.deployment(stack))

    assert touched(engine.refresh(stack)) == {}
    resources = engine.deployment(stack)["resources"]
    written_only = [
        (key, reveal(resource[side])[key])
        for resource in resources
        for side in ("inputs", "outputs")
        for key in resource.get(side) or {}
        if is_write_only(key)
    ]
    assert written_only == [("valueWo", None)] * 2, "the refresh has emptied the one write-only value"

    assert {step["op"] for step in engine.plan(stack)} == {"same"}
    started = time.monotonic()
    assert engine.up(stack, refresh=True) == {"same": created["create"]}
    figures(f"an up of {stack} with a refresh and no change", time.monotonic() - started)
    # What two runs of the program register, secrets included.
    assert registered(engine.deployment(stack)) == first


def registered(deployment: Any) -> dict[str, Any]:
    """Every resource's inputs but the registry's credentials, which are others at each call of ECR."""
    return {
        resource["urn"]: {
            key: reveal(value) for key, value in (resource.get("inputs") or {}).items() if key != "registry"
        }
        for resource in deployment["resources"]
    }
