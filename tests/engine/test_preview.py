"""Plans of the stacks that go to AWS, without an account."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from local.engine import Engine, EngineFailed
from local.paths import PROJECT_ROOT, LocalPaths


@pytest.fixture(scope="module")
def previews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the engine: a preview leaves nothing in it that another one finds."""
    return tmp_path_factory.mktemp("previews") / "local"


def planned(executable: Path, folder: Path, stack: str) -> list[Any]:
    """The inputs of every resource that a preview of the stack plans, by type and name."""
    return Engine(executable, LocalPaths(folder)).plan(stack)


def of_type(plan: list[Any], kind: str) -> dict[str, Any]:
    return {step["name"]: step["inputs"] for step in plan if step["type"] == kind}


def test_the_plan_of_production_is_https_private_and_more_than_one_task(executable: Path, previews: Path) -> None:
    plan = planned(executable, previews, "prod")
    listeners = of_type(plan, "aws:lb/listener:Listener").values()
    assert {(listener["port"], listener["protocol"]) for listener in listeners} == {(80, "HTTP"), (443, "HTTPS")}
    [http] = [listener for listener in listeners if listener["port"] == 80]
    assert http["defaultActions"][0]["redirect"]["statusCode"] == "HTTP_301"
    [https] = [listener for listener in listeners if listener["port"] == 443]
    assert https["sslPolicy"].startswith("ELBSecurityPolicy-TLS13")

    services = of_type(plan, "aws:ecs/service:Service")
    assert set(services) == {"api", "worker"}
    for name, service in services.items():
        assert service["desiredCount"] > 1, name
        assert service["networkConfiguration"]["assignPublicIp"] is False, name
    subnets = of_type(plan, "aws:ec2/subnet:Subnet")
    private = [s for s in subnets.values() if not s.get("mapPublicIpOnLaunch")]
    assert len({subnet["availabilityZone"] for subnet in private}) >= 2
    assert len(of_type(plan, "aws:ec2/natGateway:NatGateway")) >= 2
    assert of_type(plan, "aws:scheduler/schedule:Schedule")["sweep"]["state"] == "ENABLED"


def test_the_plan_of_staging_keeps_the_sweep_off(executable: Path, previews: Path) -> None:
    plan = planned(executable, previews, "staging")
    assert set(of_type(plan, "aws:ecs/service:Service")) == {"api", "worker"}
    assert of_type(plan, "aws:scheduler/schedule:Schedule")["sweep"]["state"] == "DISABLED"


@pytest.mark.parametrize("stack", ["staging", "prod", "local"])
def test_the_preview_command_needs_no_account_and_leaves_no_trace(
    stack: str, tmp_path: Path, checkout: Path, figures: Any, executable: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "local", "preview", stack],
        cwd=checkout,
        env=environment | {"LOCAL_DIR": str(tmp_path / "local")},
        capture_output=True,
        text=True,
        check=False,
    )
    figures(f"preview of {stack}", time.monotonic() - started)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "to create" in run.stdout
    assert "error" not in run.stdout
    assert "warning" not in run.stdout + run.stderr
    # The engine writes into its own copies only.
    for name in ("Pulumi.yaml", f"Pulumi.{stack}.yaml"):
        assert (checkout / name).read_bytes() == (PROJECT_ROOT / name).read_bytes()


def test_a_region_has_its_own_number_of_zones(executable: Path, previews: Path) -> None:
    said: list[str] = []
    engine = Engine(executable, LocalPaths(previews), config={"availabilityZones": 6}, output=said.append)
    subnets = of_type(engine.plan("staging"), "aws:ec2/subnet:Subnet").values()
    assert {subnet["availabilityZone"] for subnet in subnets} == {f"us-east-1{letter}" for letter in "abcdef"}
    few = {"availabilityZones": 3, "aws:region": "us-west-1"}
    with pytest.raises(EngineFailed):
        dataclasses.replace(engine, config=few).preview("staging")
    assert "us-west-1a, us-west-1b" in "\n".join(said)


def test_a_vpc_that_exists_is_used_by_its_name(executable: Path, previews: Path) -> None:
    engine = Engine(executable, LocalPaths(previews), config={"vpc": "shared"})
    plan = engine.plan("staging")
    assert of_type(plan, "aws:ec2/subnet:Subnet") == {}
    services = of_type(plan, "aws:ecs/service:Service")
    assert len(services["api"]["networkConfiguration"]["subnets"]) >= 2
    # Its subnets behind a NAT gateway are for tasks, those with the internet gateway for the load balancer.
    assert services["api"]["networkConfiguration"]["assignPublicIp"] is False
    [balancer] = of_type(plan, "aws:lb/loadBalancer:LoadBalancer").values()
    assert not set(balancer["subnets"]) & set(services["api"]["networkConfiguration"]["subnets"])


def test_values_of_the_wrong_type_are_told_with_the_other_mistakes_and_nothing_is_planned(
    executable: Path, previews: Path
) -> None:
    said: list[str] = []
    token = "a-token-that-nobody-may-see"
    config = {
        "apiCpu": "lots",
        "production": "maybe",
        "workerMinTasks": 1.5,
        "apiMaxTasks": [1],
        "apiTokn": token,
        "ecs-file-ingst:apiToken": token,
        "aws:regoin": "eu-west-1",
        "aws:region": "eu-nowhere-9",
    }
    engine = Engine(executable, LocalPaths(previews), config=config, output=said.append)
    with pytest.raises(EngineFailed):
        engine.preview("prod")
    text = "\n".join(said)
    assert "8 mistakes" in text
    for words in (
        "apiCpu: lots",
        "production: maybe",
        "workerMinTasks: 1.5",
        "apiMaxTasks: a list, not shown",
        "did you mean apiToken?",
        "did you mean ecs-file-ingest:apiToken?",
        "did you mean aws:region?",
        "aws:region: eu-nowhere-9",
    ):
        assert words in text
    assert token not in text
    assert "aws:" not in "".join(line for line in said if " + " in line)


@pytest.mark.parametrize("content", ["config: {", "- a list", "config: text", "config: {aws:region: a, aws:region: b}"])
def test_a_stack_file_that_is_none_is_told(executable: Path, previews: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (tmp_path / "Pulumi.local.yaml").write_text(content)
    with pytest.raises(EngineFailed, match=r"Pulumi\.local\.yaml"):
        Engine(executable, LocalPaths(previews), root=tmp_path).preview("local")


def test_an_empty_stack_file_lacks_its_region(executable: Path, previews: Path, checkout: Path) -> None:
    (checkout / "Pulumi.empty.yaml").write_text("")
    said: list[str] = []
    engine = Engine(executable, LocalPaths(previews), root=checkout, output=said.append)
    with pytest.raises(EngineFailed):
        engine.preview("empty")
    (checkout / "Pulumi.empty.yaml").unlink()
    assert any("aws:region: (missing)" in line for line in said)


def test_a_stack_that_has_no_file_is_named_with_those_there_are(executable: Path, previews: Path) -> None:
    with pytest.raises(
        EngineFailed, match=r"STACK=nowhere: there is no Pulumi\.nowhere\.yaml; there are local, prod, staging"
    ):
        Engine(executable, LocalPaths(previews)).preview("nowhere")


def test_encrypted_values_of_somebody_else_do_not_stop_a_preview(
    executable: Path, tmp_path: Path, checkout: Path
) -> None:
    file = checkout / "Pulumi.staging.yaml"
    text = file.read_text()
    file.write_text(
        f"encryptionsalt: v1:AAAA:v1:BBBB:CCCC\n{text}  ecs-file-ingest:apiToken:\n    secure: v1:ciphertext\n"
    )
    try:
        engine = Engine(executable, LocalPaths(tmp_path / "local"), root=checkout)
        assert engine.preview("staging", quiet=True)["create"] > 50
    finally:
        file.write_text(text)
