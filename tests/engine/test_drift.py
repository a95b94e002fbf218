"""What a refresh, a kept plan and a second run change of each stack: nothing.

Every stack is deployed in the embedded AWS. `Pulumi.yaml` makes the engine refresh before each preview and update.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from local.providers.refresh import is_write_only
from local.runner.stack import reveal
from tests.engine.conftest import place_in
from tests.engine.test_deployment import touched


@pytest.mark.parametrize("stack", ["local", "staging", "prod"])
def test_nothing_changes_that_has_not_changed(stack: str, tmp_path: Path, executable: Path, figures: Any) -> None:
    with place_in(tmp_path / "local", executable) as place:
        engine, plan = place.engine, tmp_path / "plan.json"
        # A plan that is kept is carried out: the program registers again what it has registered for the plan.
        planned = engine.preview(stack, quiet=True, save_plan=plan)
        created = engine.up(stack, plan=plan)
        assert set(created) == {"create"}
        assert created == planned

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

        first, second = engine.plan(stack), engine.plan(stack)
        assert {step["op"] for step in first} == {"same"}
        assert by_name(first) == by_name(second)
        started = time.monotonic()
        assert engine.up(stack, refresh=True) == {"same": created["create"]}
        figures(f"an up of {stack} with a refresh and no change", time.monotonic() - started)


def by_name(steps: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    return {(step["type"], step["name"]): step["inputs"] for step in steps}
