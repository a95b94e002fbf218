from __future__ import annotations

import ast
import contextlib
import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import components
from components.task import USER_ID
from service.settings import ApiSettings, SweepSettings, WorkerSettings
from tests.components.deployment import PROJECT, Deployment, deploy_twice, statements

ROOT = Path(__file__).parents[2]
STACKS = ("local", "staging", "prod")

# Actions that AWS gives no resource for, with the reason.
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken": "a token is for a whole registry"}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def configuration(stack: str) -> dict[str, str]:
    """What the engine hands to the program: the project's defaults and the stack's values, as text."""
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    values = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    own = {key.removeprefix(f"{PROJECT}:"): _text(value) for key, value in values.items()}
    return {**{key: _text(spec["default"]) for key, spec in project.items()}, **own}


def run(stack: str, changes: Mapping[str, str] | None = None) -> Deployment:
    with contextlib.chdir(ROOT):
        return deploy_twice(
            lambda: runpy.run_path(str(ROOT / "__main__.py")),
            config={**configuration(stack), **(changes or {})},
            stack=stack,
        )


@pytest.fixture(scope="module", params=STACKS)
def any_stack(request: pytest.FixtureRequest) -> Deployment:
    return run(request.param)


@pytest.fixture(scope="module")
def prod() -> Deployment:
    return run("prod")


def test_a_preview_plans_what_an_update_does(any_stack: Deployment) -> None:
    assert len(any_stack.resources) > 80


def test_no_policy_allows_an_action_by_wildcard_or_on_everything_without_a_reason(any_stack: Deployment) -> None:
    policies = any_stack.all(":RolePolicy")
    assert len(policies) == 7
    for policy in policies:
        for actions, resources, _ in statements(policy.inputs["policy"]):
            assert not [action for action in actions if "*" in action], policy.name
            if "*" in resources:
                assert set(actions) <= set(WITHOUT_RESOURCE), policy.name


def test_each_task_role_has_exactly_what_its_workload_does(any_stack: Deployment) -> None:
    def actions(workload: str) -> set[str]:
        policy = any_stack.one(":RolePolicy", f"{workload}-task-policy").inputs["policy"]
        return {action for actions, _, _ in statements(policy) for action in actions}

    efs = {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"}
    assert actions("api") == {*efs, "sqs:SendMessage", "sqs:GetQueueAttributes", "ssm:GetParameter"}
    assert actions("worker") == {
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
        "s3:PutObject",
        "ecs:UpdateTaskProtection",
    }
    assert actions("sweep") == efs


def test_each_workload_is_told_all_that_its_command_needs(any_stack: Deployment) -> None:
    told = {}
    for definition in any_stack.all("aws:ecs/taskDefinition:TaskDefinition"):
        (container,) = json.loads(definition.inputs["containerDefinitions"])
        assert container["command"] == [definition.name]
        told[definition.name] = {item["name"] for item in container["environment"]}
    common = {"AWS_REGION", "STOP_TIMEOUT_SECONDS", "METRICS_NAMESPACE"}
    assert told["api"] == common | {
        "PORT",
        "FILES_DIR",
        "FILES_AUTH",
        "FILES_MAX_BYTES",
        "INBOX_QUEUE_URL",
        "API_TOKEN_PARAMETER",
    }
    assert told["worker"] == common | {
        "INBOX_QUEUE_URL",
        "EMAILS_BUCKET",
        "EMAILS_PREFIX",
        "VISIBILITY_TIMEOUT_SECONDS",
    }
    assert told["sweep"] == common | {"FILES_DIR"}


def test_each_workload_s_command_starts_with_what_it_is_told(any_stack: Deployment) -> None:
    read: Mapping[str, Callable[[Mapping[str, str]], ApiSettings | WorkerSettings | SweepSettings]]
    read = {"api": ApiSettings.from_env, "worker": WorkerSettings.from_env, "sweep": SweepSettings.from_env}
    for definition in any_stack.all("aws:ecs/taskDefinition:TaskDefinition"):
        (container,) = definition.json("containerDefinitions")
        settings = read[definition.name]({item["name"]: item["value"] for item in container["environment"]})
        if not isinstance(settings, SweepSettings):
            assert settings.stop_timeout_seconds == container["stopTimeout"]


def test_the_api_keeps_connections_longer_than_the_load_balancer(any_stack: Deployment) -> None:
    # One that closes first does so on a request that is already under way:
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
    (container,) = any_stack.one("aws:ecs/taskDefinition:TaskDefinition", "api").json("containerDefinitions")
    settings = ApiSettings.from_env({item["name"]: item["value"] for item in container["environment"]})
    assert settings.keep_alive_seconds > any_stack.one(":LoadBalancer").inputs["idleTimeout"]


def test_the_api_and_the_worker_are_checked_by_the_image_s_own_command(any_stack: Deployment) -> None:
    checks = {}
    for definition in any_stack.all("aws:ecs/taskDefinition:TaskDefinition"):
        (container,) = definition.json("containerDefinitions")
        checks[definition.name] = container.get("healthCheck", {}).get("command")
    own = ["CMD", "python", "-m", "service", "check"]
    assert checks == {"api": own, "worker": own, "sweep": None}


def test_the_container_s_user_is_the_image_s() -> None:
    assert f"USER {USER_ID}:{USER_ID}" in (ROOT / "service" / "Dockerfile").read_text().splitlines()


def test_the_token_is_a_secret_all_the_way(any_stack: Deployment) -> None:
    assert any_stack.one("aws:ssm/parameter:Parameter").secret("valueWo")
    token = any_stack.one("aws:ssm/parameter:Parameter").inputs["valueWo"]
    others = [resource for resource in any_stack.resources if resource.type != "aws:ssm/parameter:Parameter"]
    assert token not in str([resource.raw_inputs for resource in others])
    assert token not in str(any_stack.outputs)


def test_no_resource_is_left_outside_a_component(any_stack: Deployment) -> None:
    for resource in any_stack.resources:
        if resource.options.custom:
            assert "ecs-file-ingest:index:" in resource.parent, resource.name


def test_what_is_made_can_be_found(any_stack: Deployment) -> None:
    assert {
        "url",
        "tokenParameter",
        "bucket",
        "queueUrl",
        "deadLetterQueueUrl",
        "clusterName",
        "fileSystemId",
        "imageDigest",
    } <= set(any_stack.outputs)
    assert "None" not in str(any_stack.outputs)


def test_production_has_https_private_subnets_and_more_than_one_task(prod: Deployment) -> None:
    assert prod.one(":Listener", "api-https").inputs["port"] == 443
    assert prod.outputs["url"] == "https://files.example.com"
    service = prod.one(":Service", "api").inputs
    assert service["desiredCount"] > 1
    assert service["networkConfiguration"]["assignPublicIp"] is False
    private = {subnet.name for subnet in prod.all(":Subnet") if "private" in subnet.name}
    assert {f"{name}-id" for name in private} >= {
        target.inputs["subnetId"].removesuffix("-association") for target in prod.all(":MountTarget")
    }
    assert len(prod.all(":NatGateway")) == len(private) == 3


def test_production_protects_what_holds_data_and_runs_the_sweep(prod: Deployment) -> None:
    protected = {resource.name for resource in prod.resources if resource.options.protect}
    assert protected == {"emails", "files", "inbox", "inbox-dead-letters", "api-token"}
    assert prod.one(":Bucket").inputs["forceDestroy"] is False
    assert prod.one(":Repository").inputs["forceDelete"] is False
    assert prod.one(":Schedule").inputs["state"] == "ENABLED"
    assert [group.inputs["skipDestroy"] for group in prod.all(":LogGroup")] == [True] * 4


def test_outside_production_everything_can_be_deleted_and_the_sweep_waits() -> None:
    for stack in ("local", "staging"):
        deployment = run(stack)
        assert not [resource for resource in deployment.resources if resource.options.protect]
        assert deployment.one(":Bucket").inputs["forceDestroy"] is True
        assert deployment.one(":Schedule").inputs["state"] == "DISABLED"


def test_the_routes_of_the_local_stack_are_open_and_those_of_the_others_are_not() -> None:
    def auth(stack: str) -> str:
        (container,) = run(stack).one("aws:ecs/taskDefinition:TaskDefinition", "api").json("containerDefinitions")
        return str({item["name"]: item["value"] for item in container["environment"]}["FILES_AUTH"])

    assert {stack: auth(stack) for stack in STACKS} == {"local": "none", "staging": "token", "prod": "token"}


def test_without_the_api_the_rest_stays_as_it_is() -> None:
    on, off = run("local"), run("local", {"apiEnabled": "false"})
    gone = set(on.graph()) - set(off.graph())
    assert not set(off.graph()) - set(on.graph())
    assert {name.split("-")[0] for _, name, _ in gone} == {"api"}
    assert not [type_ for type_, _, _ in off.graph() if type_.startswith("aws:lb/")]
    assert off.names("aws:ecs/service:Service") == ["worker"]
    assert off.one(":Schedule") and off.one(":FileSystem")
    assert "url" not in off.outputs


def test_plain_pulumi_runs_it_with_the_versions_that_it_is_pinned_to() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert project["name"] == PROJECT
    assert project["runtime"] == {"name": "python", "options": {"toolchain": "pip", "virtualenv": ".venv"}}
    # What failed must not turn green, so every preview and update looks at what there is.
    assert project["options"] == {"refresh": "always"}
    pinned = (ROOT / "requirements.txt").read_text()
    assert f"pulumi=={project['requiredPulumiVersion'].removeprefix('>=')} " in pinned


def test_the_components_need_neither_the_application_nor_the_local_stack_nor_unix() -> None:
    # Pulumi runs on Windows, too. https://docs.python.org/3/library/unix.html
    unix = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    for path in (ROOT / "components").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            roots = {module.split(".")[0] for module in modules}
            assert not roots & {"service", "settings", "local", "tests", *unix}, path.name


def test_the_package_exports_what_it_says() -> None:
    public = {
        name
        for name, value in vars(components).items()
        if not name.startswith("_") and name != "annotations" and not isinstance(value, ModuleType)
    }
    assert public == set(components.__all__)
    assert components.__all__ == sorted(components.__all__)
