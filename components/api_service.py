"""A service behind a load balancer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from components.cluster import Cluster, capacity_shares
from components.component import Component, Options
from components.ecs_service import create_service
from components.errors import ArgumentError, Mistake
from components.fargate import Size
from components.image import Image
from components.load_balancer import Https, LoadBalancer
from components.overrides import Overrides
from components.scaling import Scaler, Scaling, predefined
from components.task_definition import Task, TaskDefinition
from components.task_network import TaskNetwork
from components.uses import Use


class ApiService(Component):
    """An ECS service that answers HTTP requests through a load balancer, scaled on CPU and requests.

    `enabled=False` leaves nothing of it but its name, and is one update in either direction. `health_path` answers
    200 while a task takes requests. The container keeps idle connections for `keep_alive_seconds` (told to it as
    `KEEP_ALIVE_SECONDS`), which must be longer than the load balancer's `idle_timeout_seconds`. A task that is taken
    away has `deregistration_delay_seconds` for its open requests before it gets SIGTERM.

    `url` is None while the service is off. Raises ArgumentError for arguments that cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        image: Image,
        command: Sequence[str],
        size: Size,
        health_path: str,
        scaling: Scaling,
        https: Https | None = None,
        enabled: bool = True,
        port: int = 8080,
        idle_timeout_seconds: int = 60,
        keep_alive_seconds: int = 75,
        deregistration_delay_seconds: int = 60,
        uses: Sequence[Use] = (),
        environment: Mapping[str, pulumi.Input[str]] | None = None,
        stop_timeout_seconds: int = 60,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        task = Task(
            image=image,
            command=tuple(command),
            size=size,
            uses=tuple(uses),
            environment={"KEEP_ALIVE_SECONDS": str(keep_alive_seconds), **(environment or {})},
            stop_timeout_seconds=stop_timeout_seconds,
        )
        _check(name, task, health_path, idle_timeout_seconds, keep_alive_seconds, deregistration_delay_seconds)
        super().__init__(name, overrides=overrides if enabled else None, opts=opts)
        self.url: pulumi.Output[str] | None = None
        if enabled:
            self.load_balancer = LoadBalancer(
                name,
                network=cluster.network,
                port=port,
                health_path=health_path,
                https=https,
                idle_timeout_seconds=idle_timeout_seconds,
                deregistration_delay_seconds=deregistration_delay_seconds,
                opts=self.options(),
            )
            self.definition = TaskDefinition(name, cluster=cluster, task=task, port=port, opts=self.options())
            self.task_network = TaskNetwork(name, network=cluster.network, uses=task.uses, opts=self.options())
            self.service = self._service(cluster, scaling, port)
            if scaling.min < scaling.max:
                self._scale(cluster, scaling)
            self.url = self.load_balancer.url
        self.finish({"url": self.url} if self.url is not None else {})

    def _service(self, cluster: Cluster, scaling: Scaling, port: int) -> aws.ecs.Service:
        return create_service(
            self.name,
            cluster=cluster,
            definition=self.definition,
            network=self.task_network,
            desired_count=scaling.min,
            scaled=scaling.min < scaling.max,
            capacity=capacity_shares(0),
            load_balancers=[
                aws.ecs.ServiceLoadBalancerArgs(
                    target_group_arn=self.load_balancer.target_group.arn,
                    container_name=self.definition.container_name,
                    container_port=port,
                )
            ],
            health_check_grace_period_seconds=60,
            options=self.options,
            # ECS refuses a target group that no listener uses yet.
            depends_on=[*self.load_balancer.listeners, *self._admit(port)],
        )

    def _admit(self, port: int) -> tuple[pulumi.Resource, ...]:
        """The rules between the two groups, which are of neither and so make no cycle."""
        balancer, tasks = self.load_balancer.security_group.id, self.task_network.security_group.id
        return (
            aws.vpc.SecurityGroupEgressRule(
                f"{self.name}-alb-to-tasks",
                security_group_id=balancer,
                description="Load balancer to tasks",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                referenced_security_group_id=tasks,
                opts=self.options(),
            ),
            aws.vpc.SecurityGroupIngressRule(
                f"{self.name}-tasks-from-alb",
                security_group_id=tasks,
                description="From the load balancer",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                referenced_security_group_id=balancer,
                opts=self.options(),
            ),
        )

    def _scale(self, cluster: Cluster, scaling: Scaling) -> None:
        scaler = Scaler(
            self.name,
            minimum=scaling.min,
            maximum=scaling.max,
            cluster=cluster,
            service=self.service,
            options=self.options,
        )
        label = pulumi.Output.concat(
            self.load_balancer.balancer.arn_suffix, "/", self.load_balancer.target_group.arn_suffix
        )
        scaler.add("cpu", tracking=predefined("ECSServiceAverageCPUUtilization", scaling.cpu_target))
        scaler.add("requests", tracking=predefined("ALBRequestCountPerTarget", scaling.requests_per_task, label))


def _check(
    name: str, task: Task, health_path: str, idle_timeout: int, keep_alive: int, deregistration_delay: int
) -> None:
    component = f"ApiService {name!r}"
    task.check(component)
    mistakes = []
    if not health_path.startswith("/"):
        mistakes.append(
            Mistake(name="health_path", value=repr(health_path), allowed="a path", remedy="write it as '/healthcheck'")
        )
    if not 1 <= idle_timeout <= 4000:
        mistakes.append(
            Mistake(
                name="idle_timeout_seconds",
                value=str(idle_timeout),
                allowed="1 to 4000",
                remedy="use 60, AWS's default",
            )
        )
    if keep_alive <= idle_timeout:
        # A target that closes first does so on a request that is already under way: the client sees a 502.
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
        mistakes.append(
            Mistake(
                name="keep_alive_seconds",
                value=str(keep_alive),
                allowed=f"more than idle_timeout_seconds, which is {idle_timeout}",
                remedy=f"set it to {idle_timeout + 15}",
            )
        )
    if not 0 <= deregistration_delay <= 3600:
        mistakes.append(
            Mistake(
                name="deregistration_delay_seconds",
                value=str(deregistration_delay),
                allowed="0 to 3600",
                remedy="use about the longest request, as 60",
            )
        )
    if mistakes:
        raise ArgumentError(component, *mistakes)
