from __future__ import annotations

from typing import Any

import pytest

from components import (
    ArgumentError,
    HealthCheck,
    Image,
    Mount,
    SecretParameter,
    Size,
    Statement,
    Task,
    TaskDefinition,
    Use,
)
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice, statements

TYPE = "aws:ecs/taskDefinition:TaskDefinition"


def _task(image: Image, **arguments: Any) -> Task:
    return Task(**{"image": image, "command": ("api",), "size": Size(512, 1024), **arguments})


def _define(port: int | None = 8080, retain_logs: bool = False, **arguments: Any) -> None:
    cluster = parts.cluster(retain_logs=retain_logs, log_retention_days=14)
    uses = (
        parts.volume(cluster.network).mounted_at("/mnt/efs"),
        SecretParameter("api-token").injected_as("TOKEN"),
        Use(
            source="table",
            statements=(Statement(actions=("dynamodb:GetItem",), resources=("arn:aws:dynamodb:::table",)),),
        ),
    )
    check = HealthCheck(
        command=["CMD", "check"], interval_seconds=20, timeout_seconds=3, retries=4, start_period_seconds=9
    )
    given = {"uses": uses, "environment": {"COLOUR": "blue"}, "health_check": check, **arguments}
    task = _task(parts.image(), **given)
    TaskDefinition("api", cluster=cluster, task=task, port=port)


@pytest.fixture(scope="module")
def defined() -> Deployment:
    return deploy_twice(_define)


@pytest.fixture(scope="module")
def container(defined: Deployment) -> dict[str, Any]:
    (only,) = defined.one(TYPE).json("containerDefinitions")
    assert isinstance(only, dict)
    return only


def test_it_is_a_fargate_task_of_its_size_on_the_image_s_architecture(defined: Deployment) -> None:
    inputs = defined.one(TYPE).inputs
    assert (inputs["cpu"], inputs["memory"]) == ("512", "1024")
    assert inputs["requiresCompatibilities"] == ["FARGATE"]
    assert inputs["networkMode"] == "awsvpc"
    assert inputs["runtimePlatform"] == {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}
    assert inputs["family"] == "ecs-file-ingest-test-api"


def test_trap_25_a_replaced_revision_stays_for_a_rollback(defined: Deployment) -> None:
    assert defined.one(TYPE).inputs["skipDestroy"] is True


def test_the_container_runs_the_command_of_the_image_by_digest(container: dict[str, Any]) -> None:
    assert container["command"] == ["api"]
    assert "@sha256:" in container["image"]


def test_the_container_cannot_write_its_root_is_not_root_and_has_an_init_process(container: dict[str, Any]) -> None:
    assert container["readonlyRootFilesystem"] is True
    assert container["user"] == "10001:10001"
    assert container["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}


def test_the_container_has_time_to_stop_and_knows_how_much(container: dict[str, Any]) -> None:
    environment = {item["name"]: item["value"] for item in container["environment"]}
    assert container["stopTimeout"] == 60
    assert environment == {
        "AWS_REGION": "eu-west-1",
        "COLOUR": "blue",
        "FILES_DIR": "/mnt/efs",
        "METRICS_NAMESPACE": "ecs-file-ingest/test",
        "PORT": "8080",
        "STOP_TIMEOUT_SECONDS": "60",
    }


def test_the_container_is_checked_as_the_arguments_say(container: dict[str, Any]) -> None:
    assert container["healthCheck"] == {
        "command": ["CMD", "check"],
        "interval": 20,
        "timeout": 3,
        "retries": 4,
        "startPeriod": 9,
    }


def test_an_image_of_anybody_s_runs_as_it_is_made_to() -> None:
    deployment = deploy_twice(
        lambda: _define(
            command=(),
            health_check=None,
            user="0:0",
            read_only_root=False,
            scratch={"/var/cache/nginx": 64, "/run": 1},
            keep_capabilities=["CHOWN", "SETGID", "SETUID"],
        )
    )
    (container,) = deployment.one(TYPE).json("containerDefinitions")
    assert "command" not in container and "healthCheck" not in container
    assert (container["user"], container["readonlyRootFilesystem"]) == ("0:0", False)
    linux = container["linuxParameters"]
    options = ["mode=1777", "nosuid", "nodev"]
    assert linux["tmpfs"] == [
        {"containerPath": "/run", "size": 1, "mountOptions": options},
        {"containerPath": "/var/cache/nginx", "size": 64, "mountOptions": options},
    ]
    dropped = set(linux["capabilities"]["drop"])
    assert "NET_RAW" in dropped and not dropped & {"ALL", "CHOWN", "SETGID", "SETUID"}


def test_scratch_directories_take_less_than_the_memory_of_the_task() -> None:
    def program() -> None:
        _task(parts.image(), scratch={"/tmp": 1000, "/run": 24}).check("ApiService 'api'", parts.network())

    with pytest.raises(ArgumentError, match=r"(?s)ApiService 'api'.*scratch: 1024 MiB in all.*less than.*1024 MiB"):
        deploy(program)


@pytest.mark.parametrize(
    ("user", "kept", "allowed"),
    [
        ("10001:10001", [], False),
        ("0:0", ["CHOWN"], False),
        ("0:0", ["NET_BIND_SERVICE"], True),
        ("1000", ["NET_BIND_SERVICE"], False),
    ],
)
def test_a_low_port_takes_root_and_its_capability(user: str, kept: list[str], allowed: bool) -> None:
    # aws/containers-roadmap#1721: tasks can't bind below 1024 otherwise, where Docker lets every process.
    def program() -> None:
        _task(parts.image(), user=user, keep_capabilities=kept).check("ApiService 'web'", parts.network(), 80)

    if allowed:
        deploy(program)
    else:
        with pytest.raises(ArgumentError, match="a port from 1024"):
            deploy(program)


@pytest.mark.parametrize(
    "wrong",
    [
        {"environment": {"AWS_REGION": "mars"}},
        {"scratch": {"/tmp": 1024}},
        {"uses": [Use(source="a", environment={"X": "1"}), Use(source="b", environment={"X": "2"})]},
    ],
)
def test_a_definition_of_one_s_own_is_checked_as_a_workload_s(wrong: dict[str, Any]) -> None:
    def program() -> None:
        TaskDefinition("own", cluster=parts.cluster(), task=_task(parts.image(), **wrong))

    with pytest.raises(ArgumentError, match="TaskDefinition 'own'"):
        deploy(program)


@pytest.mark.parametrize(
    "environment", [[{"name": "DB", "value": "hunter2"}], ["DB=hunter2"], "DB=hunter2", {"DB": ["hunter2"]}]
)
def test_no_form_of_an_environment_is_shown(environment: Any) -> None:
    def program() -> None:
        with pytest.raises(ArgumentError) as raised:
            _task(parts.image(), environment=environment)
        assert "environment" in str(raised.value) and "hunter2" not in str(raised.value)

    deploy(program)


@pytest.mark.parametrize("command", [["CMD-SHELL", "a", "b"], ["curl"], ["CMD"], ["RUN", "x"], []])
def test_a_health_check_begins_as_docker_s(command: list[str]) -> None:
    with pytest.raises(ArgumentError, match="CMD-SHELL and one line"):
        HealthCheck(command=command)


def test_trap_60_the_host_s_port_is_the_container_s(container: dict[str, Any]) -> None:
    assert container["portMappings"] == [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}]


def test_a_secret_is_named_by_its_arn_and_never_in_the_environment(container: dict[str, Any]) -> None:
    (secret,) = container["secrets"]
    assert secret["name"] == "TOKEN"
    assert secret["valueFrom"].endswith(":api-token-1a2b3c4")


def test_trap_56_no_output_that_a_container_needs_is_missing(container: dict[str, Any]) -> None:
    assert "None" not in str(container)


def test_trap_21_the_volume_is_mounted_by_tls_iam_and_access_point_without_a_root_directory(
    defined: Deployment, container: dict[str, Any]
) -> None:
    (volume,) = defined.one(TYPE).inputs["volumes"]
    assert volume["name"] == container["mountPoints"][0]["sourceVolume"] == "files"
    assert container["mountPoints"][0]["containerPath"] == "/mnt/efs"
    assert volume["efsVolumeConfiguration"] == {
        "fileSystemId": "files-id",
        "transitEncryption": "ENABLED",
        "authorizationConfig": {"accessPointId": "files-access-id", "iam": "ENABLED"},
    }


def test_the_task_role_has_what_the_uses_say_and_nothing_else(defined: Deployment) -> None:
    policy = defined.one(":RolePolicy", "api-task-policy")
    actions = [action for actions, _, _ in statements(policy.inputs["policy"]) for action in actions]
    assert actions == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite", "dynamodb:GetItem"]
    assert policy.inputs["role"] == "api-task-role-id"


def test_a_task_without_permissions_has_a_role_without_a_policy() -> None:
    deployment = deploy(lambda: _define(uses=()))
    assert deployment.names(":Role") == ["api-execution-role", "api-task-role"]
    assert deployment.names(":RolePolicy") == ["api-execution-policy"]


def test_the_execution_role_pulls_this_image_writes_this_log_and_reads_these_secrets(defined: Deployment) -> None:
    found = list(statements(defined.one(":RolePolicy", "api-execution-policy").inputs["policy"]))
    assert [actions for actions, _, _ in found] == [
        ["ecr:GetAuthorizationToken"],
        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        ["ssm:GetParameters"],
    ]
    resources = [resources for _, resources, _ in found]
    assert resources[0] == ["*"]
    assert resources[1] == ["arn:aws:ecr:eu-west-1:123456789012:service-1a2b3c4"]
    assert resources[2][0].startswith("arn:aws:logs:eu-west-1:123456789012:/ecs/ecs-file-ingest/test/api-")
    assert resources[2][0].endswith(":*")
    assert resources[3] == ["arn:aws:ssm:eu-west-1:123456789012:api-token-1a2b3c4"]


def test_both_roles_are_trusted_to_ecs_tasks_of_this_account_alone(defined: Deployment) -> None:
    for role in defined.all(":Role"):
        (statement,) = role.json("assumeRolePolicy")["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_trap_31_permissions_are_resources_of_their_own(defined: Deployment) -> None:
    for role in defined.all(":Role"):
        assert set(role.inputs) == {"assumeRolePolicy"}


def test_trap_42_the_log_group_ends_its_logs_keeps_its_name_and_can_be_made_again(defined: Deployment) -> None:
    group = defined.one(":LogGroup", "api-logs")
    assert group.inputs == {
        "namePrefix": "/ecs/ecs-file-ingest/test/api-",
        "retentionInDays": 14,
        "skipDestroy": False,
    }
    assert list(group.options.ignoreChanges) == ["namePrefix"]


def test_retained_logs_outlive_the_task_definition() -> None:
    deployment = deploy(lambda: _define(retain_logs=True))
    assert deployment.one(":LogGroup", "api-logs").inputs["skipDestroy"] is True


def test_a_task_without_a_port_has_no_mapping_and_one_without_a_check_no_check() -> None:
    def program() -> None:
        cluster = parts.cluster()
        TaskDefinition("sweep", cluster=cluster, task=_task(parts.image()))

    (container,) = deploy_twice(program).one(TYPE).json("containerDefinitions")
    assert container["portMappings"] == []
    assert "healthCheck" not in container and "secrets" not in container
    assert "PORT" not in {item["name"] for item in container["environment"]}


@pytest.mark.parametrize("seconds", [0, 121])
def test_a_stop_timeout_that_fargate_has_not_is_an_error(seconds: int) -> None:
    def program() -> None:
        _task(parts.image(), stop_timeout_seconds=seconds).check("ApiService 'api'", parts.network())

    with pytest.raises(ArgumentError, match="1 to 120"):
        deploy(program)


def test_one_volume_mounted_twice_is_one_volume() -> None:
    first, second = (
        Mount(volume="files", container_path=path, file_system_id="fs", access_point_id="fsap") for path in ("/a", "/b")
    )
    deployment = deploy(lambda: _define(uses=(Use(source="files", mounts=(first, second)),)))
    (container,) = deployment.one(TYPE).json("containerDefinitions")
    assert [mount["containerPath"] for mount in container["mountPoints"]] == ["/a", "/b"]
    assert len(deployment.one(TYPE).inputs["volumes"]) == 1
