"""The program through the real engine, in the embedded AWS."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from local.deployment import engine_turn, reconcile
from local.engine import EngineFailed, Secret
from local.paths import PROJECT_ROOT
from local.runner.stack import reveal
from tests.engine.waiting import wait_for

EMPTY: dict[str, Any] = {}


def types(resources: Any) -> Counter[str]:
    return Counter(str(resource["type"]) for resource in resources)


def counted(resources: Any) -> int:
    """How many resources an update counts: all but the providers themselves."""
    return sum(count for kind, count in types(resources).items() if not kind.startswith("pulumi:providers:"))


def touched(changes: Any) -> dict[str, int]:
    return {operation: count for operation, count in changes.items() if operation != "same"}


def test_a_second_up_changes_nothing(deployed_place: Any, figures: Any) -> None:
    place, _ = deployed_place
    started = time.monotonic()
    assert touched(place.changes()) == {}
    figures("an up without changes, engine warm", time.monotonic() - started)


def test_a_rotated_token_outlives_a_refresh_and_the_embedded_aws(changed_place: Any) -> None:
    place, token = changed_place, f"rotated-outside-pulumi-{secrets.token_hex(8)}"
    name = reveal(place.deployed.outputs)["tokenParameter"]
    rotated = {"Name": name, "Value": token, "Type": "SecureString", "Overwrite": True}
    place.cloud.client("ssm").put_parameter(**rotated)
    place.engine.refresh()
    place.restart_cloud()
    assert touched(place.up().changes) == {}
    found = place.cloud.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert found["Value"] == token


def test_what_the_state_says_exists_does_exist(deployed_place: Any) -> None:
    place, deployed = deployed_place
    counts = types(deployed.resources)
    found = place.cloud.control("inventory")
    assert {kind: len(names) for kind, names in found.items()} == {
        "buckets": counts["aws:s3/bucket:Bucket"],
        "queues": counts["aws:sqs/queue:Queue"],
        "parameters": counts["aws:ssm/parameter:Parameter"],
        "roles": counts["aws:iam/role:Role"],
        "log groups": counts["aws:cloudwatch/logGroup:LogGroup"],
    }


def test_the_token_is_in_no_file_of_the_state_in_plain(deployed_place: Any) -> None:
    place, deployed = deployed_place
    name = reveal(deployed.outputs)["tokenParameter"]
    token = place.cloud.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert token["Type"] == "SecureString"
    assert len(token["Value"]) >= 32
    state = [file for file in place.paths.state.rglob("*") if file.is_file()]
    workspace = [file for file in place.paths.workspace.rglob("*") if file.is_file()]
    assert any(b"api-token" in file.read_bytes() for file in state)
    for file in state + workspace:
        assert token["Value"].encode() not in file.read_bytes(), file


def test_changing_the_workers_cpu_replaces_one_task_definition_and_updates_one_service(changed_place: Any) -> None:
    before = changed_place.deployed
    after = changed_place.up(workerCpu=512)
    assert touched(after.changes) == {"replace": 1, "update": 1}
    changed = changed_resources(before.resources, after.resources)
    assert changed == {"aws:ecs/taskDefinition:TaskDefinition": ["worker"], "aws:ecs/service:Service": ["worker"]}


def changed_resources(before: Any, after: Any) -> dict[str, list[str]]:
    """The names of the resources whose outputs differ, by type."""
    old = {resource["urn"]: resource.get("outputs") for resource in before}
    changed: dict[str, list[str]] = {}
    for resource in after:
        if resource["custom"] and not resource.get("delete") and old.get(resource["urn"]) != resource.get("outputs"):
            changed.setdefault(str(resource["type"]), []).append(str(resource["urn"]).rpartition("::")[2])
    return changed


def test_switching_the_api_off_to_the_schedule_alone_and_back_is_one_up_each(changed_place: Any) -> None:
    place, with_api = changed_place, changed_place.deployed
    scheduled = place.up(apiEnabled=False, sweepState="enabled")
    assert "aws:lb/loadBalancer:LoadBalancer" not in types(scheduled.resources)
    assert services(scheduled.resources) == {"worker"}
    assert schedule_state(scheduled.resources) == "ENABLED"
    assert touched(place.changes(apiEnabled=False, sweepState="enabled")) == {}

    back = place.up()
    assert types(back.resources) == types(with_api.resources)
    assert services(back.resources) == {"api", "worker"}
    assert schedule_state(back.resources) == "DISABLED"
    # What holds data has stayed what it was.
    for kind in (
        "aws:efs/fileSystem:FileSystem",
        "aws:s3/bucket:Bucket",
        "aws:sqs/queue:Queue",
        "aws:ssm/parameter:Parameter",
    ):
        assert ids(back.resources, kind) == ids(with_api.resources, kind)


def services(resources: Any) -> set[str]:
    return {str(r["urn"]).rpartition("::")[2] for r in resources if r["type"] == "aws:ecs/service:Service"}


def schedule_state(resources: Any) -> str:
    [schedule] = [r for r in resources if r["type"] == "aws:scheduler/schedule:Schedule"]
    return str(schedule["outputs"]["state"])


def ids(resources: Any, kind: str) -> set[str]:
    return {str(r["id"]) for r in resources if r["type"] == kind}


def test_destroy_leaves_nothing(empty_place: Any) -> None:
    place, deployed = empty_place, empty_place.up()
    assert touched(deployed.changes) == {"create": counted(deployed.resources)}
    bucket = reveal(deployed.outputs)["bucket"]
    # Outside production a bucket goes with what is in it.
    place.cloud.client("s3").put_object(Bucket=bucket, Key="emails/a.json", Body=b"{}")
    assert place.cloud.control("inventory") != EMPTY
    place.engine.destroy()
    assert place.engine.deployment().get("resources") in (None, [])
    assert place.cloud.control("inventory") == EMPTY


def test_no_file_of_the_state_is_written_in_place(deployed_place: Any) -> None:
    place, _ = deployed_place
    # A kill in the midst of that would leave it empty; all else is written aside, and renamed.
    state = [file for file in place.paths.state.rglob("*") if file.is_file()]
    assert "local.json" in {file.name for file in state}
    assert [file for file in state if file.suffix == ".attrs"] == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_up_can_be_repeated(empty_place: Any, how: signal.Signals) -> None:
    interrupt_and_repeat(empty_place, how, "roles", 1)


@pytest.mark.soak
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(("kind", "count"), [("queues", 2), ("parameters", 1), ("roles", 5)])
def test_an_up_can_be_interrupted_wherever_it_is(empty_place: Any, how: signal.Signals, kind: str, count: int) -> None:
    interrupt_and_repeat(empty_place, how, kind, count)


def interrupt_and_repeat(place: Any, how: signal.Signals, kind: str, count: int) -> None:
    """Ends an up, with its engine, once this many resources of a kind exist; the next one finds everything."""
    interrupt_when_there_are(place, how, kind, count)
    with engine_turn(place.paths, print):
        place.engine.unlock()
        reconcile(place.engine, place.engine.deployment(), place.cloud.endpoint_url, restart=False)
    deployed = place.up()
    counts, found = types(deployed.resources), place.cloud.control("inventory")
    assert len(found["roles"]) == counts["aws:iam/role:Role"], "what the interrupted engine made is not left over"
    assert len(found["queues"]) == counts["aws:sqs/queue:Queue"]
    assert touched(place.changes()) == {}
    place.engine.destroy()
    assert place.cloud.control("inventory") == EMPTY


def interrupt_when_there_are(place: Any, how: signal.Signals, kind: str, count: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "engine-up", "--endpoint", place.cloud.endpoint_url],
        cwd=PROJECT_ROOT,
        env=os.environ | {"LOCAL_DIR": str(place.paths.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(place.cloud.control("inventory").get(kind, ())) < count:
        assert process.poll() is None and time.monotonic() < deadline, "the engine ended before it could be interrupted"
        time.sleep(0.01)
    os.killpg(process.pid, how)
    process.wait(300)
    # The plugins are started by an executable in this stack's own folder.
    wait_for(lambda: processes_that_name(str(place.paths.folder)) == [], "the providers to end with their engine")


def processes_that_name(folder: str) -> list[str]:
    """Command lines of the stand-in providers that serve this folder's engine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "providers/plugin_process.py" in line and f"LOCAL_DIR={folder}" in environment:
            found.append(line)
    return found


def test_the_embedded_aws_comes_back_as_the_state_says(changed_place: Any) -> None:
    place, deployed = changed_place, changed_place.deployed
    before = place.cloud.control("inventory")
    outputs = reveal(deployed.outputs)
    place.cloud.client("s3").put_object(Bucket=outputs["bucket"], Key="emails/a.json", Body=b"{}")
    token = place.cloud.client("ssm").get_parameter(Name=outputs["tokenParameter"], WithDecryption=True)["Parameter"][
        "Value"
    ]

    place.restart_cloud()
    assert place.cloud.control("inventory") == before
    assert place.cloud.client("s3").get_object(Bucket=outputs["bucket"], Key="emails/a.json")["Body"].read() == b"{}"
    again = place.cloud.client("ssm").get_parameter(Name=outputs["tokenParameter"], WithDecryption=True)["Parameter"][
        "Value"
    ]
    assert again == token
    place.cloud.client("s3").delete_object(Bucket=outputs["bucket"], Key="emails/a.json")
    assert touched(place.changes()) == {}


def test_a_token_from_the_configuration_is_taken_and_changed(empty_place: Any) -> None:
    place = empty_place

    def token(deployed: Any) -> str:
        name = reveal(deployed.outputs)["tokenParameter"]
        return str(place.cloud.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])

    deployed = place.up(apiToken=Secret("first-token-0123456789"))
    assert token(deployed) == "first-token-0123456789"
    assert touched(place.changes(apiToken=Secret("second-token-0123456789"))) == {"update": 1}
    assert token(deployed) == "second-token-0123456789"


def test_mistakes_are_reported_all_at_once_and_nothing_is_deployed(empty_place: Any) -> None:
    place = empty_place
    said: list[str] = []
    engine = place.engine.__class__(
        place.engine.executable,
        place.paths,
        cloud_endpoint=place.cloud.endpoint_url,
        config={
            "apiCpus": 512,
            "workerCpu": 256,
            "workerMemory": 4096,
            "apiMinTasks": 5,
            "apiMaxTasks": 2,
            "sweepSchedule": "every hour",
        },
        output=said.append,
    )
    with pytest.raises(EngineFailed):
        engine.up()
    text = "\n".join(said)
    # Each with its key, the value, what is allowed.
    for words in (
        ["apiCpus", "apiCpu"],
        ["workerMemory", "4096", "512", "1024", "2048"],
        ["apiMinTasks", "5", "2"],
        ["sweepSchedule", "every hour", "rate(", "cron("],
    ):
        assert all(word in text for word in words), (words, text)
    assert "Traceback" not in text
    assert place.cloud.control("inventory") == EMPTY
    resources = place.engine.deployment().get("resources") or []
    assert [r["type"] for r in resources if r["custom"]] == []


def test_the_deployed_image_keeps_what_it_was_built_from(deployed_place: Any) -> None:
    place, deployed = deployed_place
    [image] = [r for r in deployed.resources if r["type"] == "docker:index/image:Image"]
    reference = image["outputs"]["repoDigest"]
    digest = reference.rpartition("@sha256:")[2]
    assert (place.paths.images / digest / "service" / "__main__.py").is_file()
    definitions = [
        reveal(r["outputs"]) for r in deployed.resources if r["type"] == "aws:ecs/taskDefinition:TaskDefinition"
    ]
    images = {container["image"] for d in definitions for container in json.loads(d["containerDefinitions"])}
    assert images == {reference}
