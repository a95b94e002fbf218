"""What a task is and may do: the half that the three workloads share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pulumi
import pulumi_aws as aws

from components.arguments import checked
from components.cluster import Cluster
from components.component import Children, Component, Options, claim
from components.container import canonical, named
from components.iam import Statement, policy, trust
from components.names import Name
from components.overrides import Overrides
from components.task import HealthCheck, Task
from components.uses import Mount, Port

_TASKS = "ecs-tasks.amazonaws.com"


class TaskDefinition(Component):
    """A Fargate task definition with its log group, its execution role and its task role.

    The execution role pulls this image, writes to this log group and reads these secrets. The task role has what the
    uses say and nothing else. An init process reaps children. `port` is the container's port, if it has one.
    """

    children: ClassVar[Children] = {
        "execution-policy": "aws:iam/rolePolicy:RolePolicy",
        "execution-role": "aws:iam/role:Role",
        "logs": "aws:cloudwatch/logGroup:LogGroup",
        "task-definition": "aws:ecs/taskDefinition:TaskDefinition",
        "task-policy": "aws:iam/rolePolicy:RolePolicy",
        "task-role": "aws:iam/role:Role",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        cluster: Cluster,
        task: Task,
        port: Port | None = None,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        task.check(f"TaskDefinition {name!r}", cluster.network, port)
        super().__init__(name, overrides=overrides, opts=opts)
        self._cluster = cluster
        self._task = task
        self._port = port
        self.container_name = name
        self.family = f"{pulumi.get_project()}-{pulumi.get_stack()}-{name}"
        # The tasks of two workloads in one family would pass for each other's.
        claim(("task family",), self.family, self)
        self.log_group = self._log_group()
        self.execution_role, execution_policy = self._role("execution", self._execution_statements())
        self.task_role, task_policy = self._role("task", [s for use in task.uses for s in use.statements])
        self.policies = tuple(part for part in (execution_policy, task_policy) if part is not None)
        self.depends_on = (*self.policies, *dict.fromkeys(item for use in task.uses for item in use.depends_on))
        self.definition = self._definition()
        self.arn = self.definition.arn
        self.finish({"arn": self.arn})

    def _log_group(self) -> aws.cloudwatch.LogGroup:
        # The provider completes the prefix once, and the name stays. A fixed name could not be created again while the
        # retained group of a workload that was switched off and on still has it.
        return aws.cloudwatch.LogGroup(
            f"{self.name}-logs",
            name_prefix=f"/ecs/{pulumi.get_project()}/{pulumi.get_stack()}/{self.name}-",
            retention_in_days=self._cluster.log_retention_days,
            skip_destroy=self._cluster.retain_logs,
            # Another name would be another group, and the logs so far out of sight.
            opts=self.options(ignore_changes=["name_prefix"]),
        )

    def _execution_statements(self) -> list[Statement]:
        return [
            # ECR gives its token for a whole registry: this action takes no resource.
            Statement(actions=("ecr:GetAuthorizationToken",), resources=("*",)),
            Statement(
                actions=("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
                resources=(self._task.image.repository.arn,),
            ),
            Statement(
                actions=("logs:CreateLogStream", "logs:PutLogEvents"),
                resources=(pulumi.Output.concat(self.log_group.arn, ":*"),),
            ),
            *(statement for use in self._task.uses for statement in use.execution_statements),
        ]

    def _role(self, kind: str, statements: Sequence[Statement]) -> tuple[aws.iam.Role, aws.iam.RolePolicy | None]:
        role = aws.iam.Role(
            f"{self.name}-{kind}-role",
            assume_role_policy=trust(_TASKS, self._cluster.place, source_arn=self._cluster.place.arn("ecs", "*")),
            opts=self.options(),
        )
        if not statements:
            return role, None
        return role, aws.iam.RolePolicy(
            f"{self.name}-{kind}-policy", role=role.id, policy=policy(statements), opts=self.options()
        )

    def _definition(self) -> aws.ecs.TaskDefinition:
        size = self._task.size
        return aws.ecs.TaskDefinition(
            self.name,
            family=self.family,
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(size.cpu),
            memory=str(size.memory),
            runtime_platform=aws.ecs.TaskDefinitionRuntimePlatformArgs(
                cpu_architecture=self._task.image.architecture, operating_system_family="LINUX"
            ),
            execution_role_arn=self.execution_role.arn,
            task_role_arn=self.task_role.arn,
            container_definitions=pulumi.Output.all(self._container()).apply(canonical),
            volumes=[_volume(mount) for mount in self._mounts()],
            # A replaced revision stays registered: it is what a failed deployment rolls back to.
            skip_destroy=True,
            opts=self.options(),
        )

    def _mounts(self) -> list[Mount]:
        return list({mount.volume: mount for use in self._task.uses for mount in use.mounts}.values())

    def _container(self) -> dict[str, Any]:
        task = self._task
        environment = {
            # Fargate tells the region too; said here, so that it does not depend on the platform's version.
            "AWS_REGION": self._cluster.place.region,
            "STOP_TIMEOUT_SECONDS": str(task.stop_timeout_seconds),
            # Two stacks in one account must not count into one metric.
            "METRICS_NAMESPACE": f"{pulumi.get_project()}/{pulumi.get_stack()}",
            **({"PORT": str(self._port)} if self._port else {}),
            **{key: value for use in task.uses for key, value in use.environment.items()},
            **task.environment,
        }
        secrets = {key: value for use in task.uses for key, value in use.secrets.items()}
        return {
            "name": self.container_name,
            "image": task.image.reference,
            "command": list(task.command) or None,
            "environment": named(environment),
            "secrets": named(secrets, "valueFrom") if secrets else None,
            "mountPoints": [
                {"sourceVolume": mount.volume, "containerPath": mount.container_path, "readOnly": False}
                for use in task.uses
                for mount in use.mounts
            ],
            # On awsvpc the host's port is the container's.
            "portMappings": [
                {"containerPort": port, "hostPort": port, "protocol": "tcp"} for port in (self._port,) if port
            ],
            "healthCheck": _health_check(task.health_check) if task.health_check else None,
            "stopTimeout": task.stop_timeout_seconds,
            "readonlyRootFilesystem": task.read_only_root,
            "user": task.user,
            "linuxParameters": {
                "initProcessEnabled": True,
                "capabilities": {"drop": list(task.drop_capabilities)},
                "tmpfs": [_scratch(path, size) for path, size in sorted(task.scratch.items())] or None,
            },
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self.log_group.name,
                    "awslogs-region": self._cluster.place.region,
                    "awslogs-stream-prefix": self.name,
                    # Blocking would hang the process on its own output while CloudWatch is away.
                    "mode": "non-blocking",
                    "max-buffer-size": "25m",
                },
            },
        }


def _health_check(check: HealthCheck) -> dict[str, Any]:
    return {
        "command": list(check.command),
        "interval": check.interval_seconds,
        "timeout": check.timeout_seconds,
        "retries": check.retries,
        "startPeriod": check.start_period_seconds,
    }


def _scratch(path: str, size: int) -> dict[str, Any]:
    # An empty volume would be root's: Fargate takes no owner for one (aws/containers-roadmap#938). A tmpfs, which it has
    # since January 2026, takes a mode: https://aws.amazon.com/about-aws/whats-new/2026/01/amazon-ecs-tmpfs-mounts-aws-fargate-managed-instances/
    return {"containerPath": path, "size": size, "mountOptions": ["mode=1777", "nosuid", "nodev"]}


def _volume(mount: Mount) -> aws.ecs.TaskDefinitionVolumeArgs:
    # With an access point the root directory is its own, and TLS is required.
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EFSVolumeConfiguration.html
    return aws.ecs.TaskDefinitionVolumeArgs(
        name=mount.volume,
        efs_volume_configuration=aws.ecs.TaskDefinitionVolumeEfsVolumeConfigurationArgs(
            file_system_id=mount.file_system_id,
            transit_encryption="ENABLED",
            authorization_config=aws.ecs.TaskDefinitionVolumeEfsVolumeConfigurationAuthorizationConfigArgs(
                access_point_id=mount.access_point_id, iam="ENABLED"
            ),
        ),
    )
