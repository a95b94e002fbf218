"""A rollout that fails, as the real engine takes it from the provider."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from local.engine import Engine, EngineFailed
from local.paths import LocalPaths
from local.providers.aws.ecs import FUNCTIONS
from local.providers.aws.place import place_in

PROGRAM = """
import pulumi
import pulumi_aws as aws

service = aws.ecs.Service(
    "api",
    name="api",
    cluster="arn:aws:ecs:us-east-1:123456789012:cluster/main",
    task_definition=pulumi.Config().require("definition"),
    desired_count=2,
    deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
    wait_for_steady_state=True,
)
found = aws.ecs.get_service_output(service_name=service.name, cluster_arn=service.cluster)
pulumi.export("runs", found.apply(lambda it: f"{it.task_definition} {it.running_count}/{it.desired_count}"))
"""
TOKEN = "aws:ecs/service:Service"


@dataclasses.dataclass
class Project:
    """A project with one service, and what the engine has said."""

    engine: Engine
    said: list[str]

    def up(self, definition: str, *, refresh: bool = False) -> Any:
        return dataclasses.replace(self.engine, config={"definition": definition}).up("test", refresh=refresh)

    def fail(self, reason: str | None) -> None:
        """From now on new tasks of the service fail for this reason; with None they don't."""
        self.engine.paths.folder.mkdir(exist_ok=True)
        self.engine.paths.ecs_faults.write_text(json.dumps({"api": reason} if reason else {}))

    @property
    def state(self) -> Any:
        [service] = [one for one in self.engine.deployment("test")["resources"] if one["type"] == TOKEN]
        return service

    def runs(self) -> tuple[str, int]:
        found = FUNCTIONS["aws:ecs/getService:getService"](
            place_in("us-east-1"), {"serviceName": "api", "clusterArn": "main"}
        )
        return found["taskDefinition"], found["runningCount"]


@pytest.fixture
def project(executable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    (root / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (root / "Pulumi.test.yaml").write_text("config:\n  aws:region: us-east-1\n")
    (root / "__main__.py").write_text(PROGRAM)
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path / "local"))
    said: list[str] = []
    return Project(Engine(executable, LocalPaths(tmp_path / "local"), root=root, output=said.append), said)


def test_a_failed_update_leaves_what_was_asked_for_in_the_state_and_the_old_revision_running(project: Project) -> None:
    project.up("api:1")
    project.fail("tasks failed to start")
    with pytest.raises(EngineFailed):
        project.up("api:2")
    assert any("Service deployment rolled back" in line for line in project.said)
    # The engine keeps the old inputs, but the provider compares with the outputs.
    assert (project.state["inputs"]["taskDefinition"], project.state["outputs"]["taskDefinition"]) == ("api:1", "api:2")
    assert project.state["initErrors"]
    assert project.runs() == ("api:1", 2)

    # What makes a second `up` dangerous: it has an update to finish, calls nothing, and succeeds.
    assert project.up("api:2")["update"] == 1
    assert project.state["outputs"]["taskDefinition"] == "api:2"
    assert "initErrors" not in project.state
    assert project.runs() == ("api:1", 2)

    # With a refresh it sees what runs, and tries again.
    with pytest.raises(EngineFailed):
        project.up("api:2", refresh=True)
    assert project.runs() == ("api:1", 2)
    project.fail(None)
    assert project.up("api:2", refresh=True)["update"] == 1
    assert project.runs() == ("api:2", 2)
    assert project.up("api:2", refresh=True) == {"same": 2}


def test_a_failed_first_create_leaves_a_service_without_tasks_that_a_refresh_does_not_see(project: Project) -> None:
    project.fail("tasks failed to start")
    with pytest.raises(EngineFailed):
        project.up("api:1")
    assert project.state["id"] == "arn:aws:ecs:us-east-1:123456789012:service/main/api"
    assert project.state["initErrors"]
    assert project.runs() == ("api:1", 0)
    project.fail(None)
    assert project.up("api:1", refresh=True) == {"same": 2}
    assert project.runs() == ("api:1", 0)
    project.up("api:2")
    assert project.runs() == ("api:2", 2)
