"""A service behind a load balancer."""

from __future__ import annotations

from typing import ClassVar, Unpack

import pulumi
import pulumi_aws as aws

from components.arguments import checked
from components.cluster import Cluster, capacity_shares
from components.component import Children, Component, Options
from components.ecs_service import create_service
from components.fargate import Size
from components.image import Image
from components.load_balancer import DeregistrationDelay, Https, IdleTimeout, LoadBalancer, UrlPath
from components.names import Name
from components.overrides import Overrides
from components.scaling import Scaler, Scaling, computed, predefined, requests_or_none
from components.service_timeouts import Pace
from components.task import ContainerArguments, Task
from components.task_definition import TaskDefinition
from components.task_network import TaskNetwork
from components.uses import Port

_GRACE_SECONDS = 60
"""How long ECS overlooks what the load balancer says of a new task."""


class ApiService(Component):
    """An ECS service that answers HTTP requests through a load balancer, scaled on CPU and requests.

    `enabled=False` leaves nothing of it but its name, and is one update in either direction. `health_path` answers
    200 while a task takes requests. The container listens on `port`, which it is told as `PORT`, and keeps idle
    connections for longer than the load balancer's `idle_timeout_seconds`: one that closes first does so on a request
    that is already under way, and the client sees a 502
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html). A task that
    is taken away has `deregistration_delay_seconds` for its open requests before it gets SIGTERM. `Task` says what a
    container takes.

    `url` is None while the service is off. Raises ArgumentError for arguments that cannot work.
    """

    children: ClassVar[Children] = {
        **LoadBalancer.children,
        **TaskDefinition.children,
        **TaskNetwork.children,
        "alb-to-tasks": "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "cpu": "aws:appautoscaling/policy:Policy",
        "idle": "aws:appautoscaling/policy:Policy",
        "requests": "aws:appautoscaling/policy:Policy",
        "scaling": "aws:appautoscaling/target:Target",
        "service": "aws:ecs/service:Service",
        "tasks-from-alb": "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        cluster: Cluster,
        image: Image,
        size: Size,
        health_path: UrlPath,
        scaling: Scaling,
        https: Https | None = None,
        enabled: bool = True,
        port: Port = 8080,
        idle_timeout_seconds: IdleTimeout = 60,
        deregistration_delay_seconds: DeregistrationDelay = 60,
        overrides: Overrides | None = None,
        opts: Options = None,
        **container: Unpack[ContainerArguments],
    ) -> None:
        task = Task(image=image, size=size, **container)
        task.check(f"ApiService {name!r}", cluster.network, port)
        super().__init__(name, overrides=overrides, opts=opts)
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
            self.service = self._service(cluster, task, scaling, port, deregistration_delay_seconds)
            self._scale(cluster, scaling)
            self.url = self.load_balancer.url
            self.finish({"url": self.url})
        else:
            self.register_outputs({})

    def _service(
        self, cluster: Cluster, task: Task, scaling: Scaling, port: int, deregistration_delay_seconds: int
    ) -> aws.ecs.Service:
        return create_service(
            self.name,
            cluster=cluster,
            definition=self.definition,
            network=self.task_network,
            capacity=capacity_shares(0),
            pace=Pace(
                tasks=scaling.min,
                healthy_seconds=max(task.healthy_seconds, _GRACE_SECONDS + self.load_balancer.healthy_seconds),
                stop_timeout_seconds=task.stop_timeout_seconds,
                release_seconds=deregistration_delay_seconds,
            ),
            load_balancers=[
                aws.ecs.ServiceLoadBalancerArgs(
                    target_group_arn=self.load_balancer.target_group.arn,
                    container_name=self.definition.container_name,
                    container_port=port,
                )
            ],
            health_check_grace_period_seconds=_GRACE_SECONDS,
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
        if scaling.min == scaling.max:
            return
        balancer, targets = self.load_balancer.balancer.arn_suffix, self.load_balancer.target_group.arn_suffix
        label = pulumi.Output.concat(balancer, "/", targets)
        scaler.add("cpu", tracking=predefined("ECSServiceAverageCPUUtilization", scaling.cpu_target))
        # Two policies on requests: what was measured adds at once, and a minute without requests counts only for taking
        # away. If requests came later than the hosts, the second one's newest point would be nought, and it never added.
        scaler.add(
            "requests",
            tracking=predefined("ALBRequestCountPerTarget", scaling.requests_per_task, label, adds_only=True),
        )
        scaler.add("idle", tracking=computed(requests_or_none(balancer, targets), scaling.requests_per_task))
