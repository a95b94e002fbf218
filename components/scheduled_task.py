"""A task that runs on a schedule."""

from __future__ import annotations

from typing import ClassVar, Unpack

import pulumi_aws as aws

from components.arguments import checked
from components.cluster import Cluster, capacity_shares
from components.component import Children, Component, Options
from components.fargate import Size
from components.iam import Statement, policy, trust
from components.image import Image
from components.names import Name
from components.overrides import Overrides
from components.queue import DEAD_LETTER_DAYS
from components.schedule_expression import ScheduleExpression, TimeZone
from components.task import ContainerArguments, Task
from components.task_definition import TaskDefinition
from components.task_network import TaskNetwork

RETRIES = 3
RETRY_WITHIN_SECONDS = 3600
"""Written out, because EventBridge's defaults are 185 attempts over a day.
https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html"""


class ScheduledTask(Component):
    """An ECS task started by EventBridge Scheduler: `rate(...)`, `cron(...)` or `at(...)`, in a time zone.

    What cannot be started goes, after its retries, to a dead-letter queue, which is never protected: it tells of starts
    that were missed, and holds nothing that was accepted. `enabled=False` keeps everything and starts nothing. `Task` says
    what a container takes. Raises ArgumentError for a schedule or a time zone that EventBridge would refuse.
    """

    children: ClassVar[Children] = {
        **TaskDefinition.children,
        **TaskNetwork.children,
        "dead-letters": "aws:sqs/queue:Queue",
        "schedule": "aws:scheduler/schedule:Schedule",
        "schedule-policy": "aws:iam/rolePolicy:RolePolicy",
        "schedule-role": "aws:iam/role:Role",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        cluster: Cluster,
        image: Image,
        size: Size,
        schedule: ScheduleExpression,
        timezone: TimeZone = "UTC",
        enabled: bool = True,
        overrides: Overrides | None = None,
        opts: Options = None,
        **container: Unpack[ContainerArguments],
    ) -> None:
        task = Task(image=image, size=size, **container)
        task.check(f"ScheduledTask {name!r}", cluster.network)
        super().__init__(name, overrides=overrides, opts=opts)
        self.definition = TaskDefinition(name, cluster=cluster, task=task, opts=self.options())
        self.task_network = TaskNetwork(name, network=cluster.network, uses=task.uses, opts=self.options())
        self.dead_letters = aws.sqs.Queue(
            f"{name}-dead-letters",
            message_retention_seconds=DEAD_LETTER_DAYS * 86_400,
            sqs_managed_sse_enabled=True,
            opts=self.options(),
        )
        self.role, role_policy = self._role(cluster)
        self.schedule = aws.scheduler.Schedule(
            name,
            schedule_expression=schedule,
            schedule_expression_timezone=timezone,
            state="ENABLED" if enabled else "DISABLED",
            flexible_time_window=aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF"),
            target=self._target(cluster),
            # EventBridge checks that it may assume the role; a task needs a provider that the cluster has, and all that
            # its uses name.
            opts=self.options(
                depends_on=[
                    role_policy,
                    *cluster.depends_on,
                    *self.task_network.rules,
                    *self.definition.depends_on,
                ]
            ),
        )
        self.dead_letter_url = self.dead_letters.url
        self.finish({"dead_letter_url": self.dead_letter_url})

    def _target(self, cluster: Cluster) -> aws.scheduler.ScheduleTargetArgs:
        return aws.scheduler.ScheduleTargetArgs(
            arn=cluster.arn,
            role_arn=self.role.arn,
            ecs_parameters=aws.scheduler.ScheduleTargetEcsParametersArgs(
                task_definition_arn=self.definition.arn,
                task_count=1,
                capacity_provider_strategies=[
                    aws.scheduler.ScheduleTargetEcsParametersCapacityProviderStrategyArgs(
                        capacity_provider=share.provider, weight=share.weight, base=share.base
                    )
                    for share in capacity_shares(0)
                ],
                network_configuration=aws.scheduler.ScheduleTargetEcsParametersNetworkConfigurationArgs(
                    **self.task_network.placement
                ),
            ),
            retry_policy=aws.scheduler.ScheduleTargetRetryPolicyArgs(
                maximum_retry_attempts=RETRIES, maximum_event_age_in_seconds=RETRY_WITHIN_SECONDS
            ),
            dead_letter_config=aws.scheduler.ScheduleTargetDeadLetterConfigArgs(arn=self.dead_letters.arn),
        )

    def _role(self, cluster: Cluster) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        role = aws.iam.Role(
            f"{self.name}-schedule-role",
            assume_role_policy=trust("scheduler.amazonaws.com", cluster.place),
            opts=self.options(),
        )
        role_policy = aws.iam.RolePolicy(
            f"{self.name}-schedule-policy",
            role=role.id,
            policy=policy(
                [
                    Statement(
                        actions=("ecs:RunTask",),
                        # Every revision of this family: with one revision, a start between the change of the policy and
                        # the change of the schedule would be refused.
                        resources=(cluster.place.arn("ecs", f"task-definition/{self.definition.family}:*"),),
                        conditions={"ArnEquals": {"ecs:cluster": cluster.arn}},
                    ),
                    Statement(
                        actions=("iam:PassRole",),
                        resources=(self.definition.execution_role.arn, self.definition.task_role.arn),
                        conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
                    ),
                    Statement(actions=("sqs:SendMessage",), resources=(self.dead_letters.arn,)),
                ]
            ),
            opts=self.options(),
        )
        return role, role_policy
