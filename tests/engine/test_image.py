"""The image through the real engine: what does not change it, and a plan that is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.deployment import engine_turn
from local.paths import PROJECT_ROOT
from tests.engine.test_deployment import counted

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@pytest.fixture
def another_umask() -> Iterator[None]:
    """The checkout as someone has it whose umask is 002."""
    files = list((PROJECT_ROOT / "service").glob("*.py"))
    assert files
    modes = [file.stat().st_mode for file in files]
    before = os.umask(0o002)
    for file, mode in zip(files, modes, strict=True):
        file.chmod(mode | 0o020)
    try:
        yield
    finally:
        os.umask(before)
        for file, mode in zip(files, modes, strict=True):
            file.chmod(mode)


def test_another_umask_changes_nothing_and_a_kept_plan_is_carried_out(
    deployed_place: Any, another_umask: None, tmp_path: Path
) -> None:
    place, deployed = deployed_place
    plan = tmp_path / "plan.json"
    said: list[str] = []
    # What `pulumi preview --save-plan` and `pulumi up --plan` do.
    with engine_turn(place.paths, print), place.engine._stack("local") as stack:
        planned = stack.preview(plan=str(plan), on_output=said.append, on_error=said.append)
        done = stack.up(plan=str(plan), on_output=said.append, on_error=said.append, on_event=stack.note)
    assert dict(planned.change_summary) == done.summary.resource_changes == {"same": counted(deployed.resources)}

    image = next(value for urn, value in json.loads(plan.read_text())["resourcePlans"].items() if "docker:" in urn)
    [(changed, registry)] = image["goal"]["inputDiff"]["updates"].items()
    # Whatever the password will be, it is in the plan's bounds.
    assert (changed, registry["password"]) == ("registry", UNKNOWN)
    assert "local-stack-" not in plan.read_text() + "".join(said)
