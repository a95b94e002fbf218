"""The stack's configuration: every key, what it means, what it takes, and what goes together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi

from components.address_block import AddressBlock
from components.arguments import Between, Matching, OneOf, Valid
from components.backlog import LatencySeconds
from components.cluster import LogRetentionDays
from components.configuration import given, key, keys, load_settings
from components.errors import Mistake
from components.fargate import MEMORY_BY_CPU, Size, size_mistake
from components.image import Platform
from components.load_balancer import CERTIFICATE, Domain, Https, https_problem, in_region
from components.network import CIDR_BLOCK, NAT_GATEWAYS, NatGateways, VpcChoice, Zones, shape_mistake
from components.queue import MAX_VISIBILITY_TIMEOUT_SECONDS
from components.scaling import CpuTarget, RequestsPerTask
from components.schedule_expression import ScheduleExpression, TimeZone
from components.worker_service import SpotPercent

_MEMORIES = {memory for memories in MEMORY_BY_CPU.values() for memory in memories}
_OF_FARGATE = "what Fargate has for this CPU"

_Cpu = Annotated[int, OneOf(tuple(MEMORY_BY_CPU))]
_Memory = Annotated[int, Valid(lambda memory: None if memory in _MEMORIES else _OF_FARGATE, allowed=_OF_FARGATE)]
_Tasks = Annotated[int, Between(1, 1000)]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration of a stack, read and checked as a whole.

    Each field is a key of Pulumi.yaml in snake_case. Where it becomes a component's argument, it is annotated as that
    is. Get it with `Settings.load()`.
    """

    production: bool = key(
        False,
        "Protects what holds data from deletion, keeps logs when what wrote them is deleted, and lets the sweep run.",
    )
    vpc: VpcChoice = key(
        "default",
        "Network: the account's default VPC, a VPC of the stack's own, or a VPC that exists, by its id or Name tag.",
    )
    vpc_cidr: AddressBlock = key(CIDR_BLOCK, "Addresses of the stack's own VPC; for vpc own alone.")
    availability_zones: Zones = key(2, "Availability zones to spread over.")
    nat_gateways: NatGateways = key(
        "none",
        "NAT gateways of the stack's own VPC; for vpc own alone. With them tasks run in private subnets; with none, in "
        "public subnets that nothing may enter.",
    )
    image_platform: Platform = key("linux/amd64", "Platform that the image is built for and tasks run on.")
    image_base: Annotated[str, Matching(r"\S+", "an image reference")] = key(
        "", "Base image in place of the Dockerfile's own."
    )
    tracing_endpoint: Annotated[
        str,
        Matching(
            r"https://[^\s/:?#@]+(/[^\s?#]*)?", "an https:// address without a port: HTTPS is what tasks may reach"
        ),
    ] = key(
        "",
        "OTLP/HTTP endpoint that traces go to. Without one nothing is traced, and the image has nothing for it.",
        # What is refused may have a password before the host, or a key in its query.
        shown=False,
    )
    api_enabled: bool = key(True, "Whether the API runs; without it there is no load balancer, and the rest stays.")
    api_cpu: _Cpu = key(256, "CPU of an API task (1024 is a vCPU).")
    api_memory: _Memory = key(1024, "Memory of an API task in MiB.")
    api_min_tasks: _Tasks = key(1, "Fewest API tasks.")
    api_max_tasks: _Tasks = key(2, "Most API tasks; the same as the fewest fixes the number.")
    api_cpu_target: CpuTarget = key(60, "Average CPU use in percent that API tasks are added above.")
    api_requests_per_task: RequestsPerTask = key(600, "Requests a minute for each API task that tasks are added above.")
    api_token: Annotated[
        str, Matching(r"[!-~]{16,4096}", "16 to 4096 printable ASCII characters without spaces, encrypted")
    ] = key(
        "",
        "Token that the API asks for. Empty makes a random one when the parameter is created and leaves it alone from "
        "then on. Set it with: pulumi config set --secret apiToken.",
        secret=True,
    )
    files_auth: Literal["token", "none"] = key("token", "Whether the file routes ask for the token.")
    files_max_bytes: Annotated[int, Between(1, 47 * 1024**4, "47 TiB, the most that fits into a file on EFS")] = key(
        5_368_709_120, "Largest file in bytes."
    )
    domain_name: Domain = key("", "Name that clients use. With it the API is served over HTTPS.")
    hosted_zone_name: Domain = key("", "Public Route 53 zone that gets the name's record and proves the certificate.")
    certificate_arn: Annotated[str, CERTIFICATE] = key("", "ACM certificate to use instead of a new one.")
    worker_cpu: _Cpu = key(256, "CPU of a worker task (1024 is a vCPU).")
    worker_memory: _Memory = key(1024, "Memory of a worker task in MiB.")
    worker_min_tasks: Annotated[int, Between(0, 1000)] = key(
        1, "Fewest worker tasks; 0 starts the first one when messages wait."
    )
    worker_max_tasks: _Tasks = key(4, "Most worker tasks; the same as the fewest fixes the number.")
    worker_latency_seconds: LatencySeconds = key(60, "How long a message may wait before workers are added.")
    worker_message_milliseconds: Annotated[int, Between(1, 1000 * MAX_VISIBILITY_TIMEOUT_SECONDS)] = key(
        10, "How long one worker task takes for a message, all its threads counted."
    )
    worker_spot_percent: SpotPercent = key(
        0, "Share of worker tasks on Fargate Spot, beyond the first, which is on demand."
    )
    sweep_state: Literal["auto", "enabled", "disabled"] = key(
        "auto", "Whether the sweep runs on its schedule; auto is enabled in production and disabled elsewhere."
    )
    sweep_schedule: ScheduleExpression = key("rate(1 hour)", "When the sweep runs.")
    sweep_timezone: TimeZone = key("UTC", "Time zone of the sweep's schedule.")
    log_retention_days: LogRetentionDays = key(30, "How long logs are kept.")

    @classmethod
    def load(cls) -> Settings:
        """The settings of the stack being deployed. Raises ConfigurationError with every mistake there is."""
        return load_settings(cls, Path(__file__).with_name("Pulumi.yaml"), _together)

    @property
    def image_extras(self) -> str:
        """What the image has beside what every one has."""
        return "otel" if self.tracing_endpoint else ""

    @property
    def tracing(self) -> dict[str, str]:
        """The environment that turns tracing on; empty leaves it off."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.tracing_endpoint} if self.tracing_endpoint else {}

    @property
    def api_size(self) -> Size:
        """The size of an API task."""
        return Size(self.api_cpu, self.api_memory)

    @property
    def worker_size(self) -> Size:
        """The size of a worker task."""
        return Size(self.worker_cpu, self.worker_memory)

    @property
    def https(self) -> Https | None:
        """How clients reach the API by TLS; None serves plain HTTP."""
        if not (self.domain_name or self.certificate_arn):
            return None
        return Https(
            domain_name=self.domain_name,
            hosted_zone_name=self.hosted_zone_name,
            certificate_arn=self.certificate_arn,
        )

    @property
    def token(self) -> pulumi.Output[str] | None:
        """The configured API token as a secret; None when there is none."""
        return pulumi.Output.secret(self.api_token) if self.api_token else None

    @property
    def worker_message_seconds(self) -> float:
        """How long one worker task takes for a message."""
        return self.worker_message_milliseconds / 1000

    @property
    def sweep_enabled(self) -> bool:
        """Whether the sweep runs on its schedule."""
        return self.production if self.sweep_state == "auto" else self.sweep_state == "enabled"

    def __repr__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        shown["api_token"] = "(secret)" if self.api_token else ""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _together(values: Mapping[str, Any]) -> Iterator[Mistake]:
    """Mistakes in what goes together. A check whose values are wrong by themselves stays out: that has been told."""
    for check, names in _CHECKS:
        if all(name in values for name in names):
            mistake = check(values, *names)
            if mistake is not None:
                yield mistake


def _size(values: Mapping[str, Any], cpu: str, memory: str) -> Mistake | None:
    return size_mistake(keys(cpu, memory), values[cpu], values[memory])


def _bounds(values: Mapping[str, Any], minimum: str, maximum: str) -> Mistake | None:
    if values[minimum] <= values[maximum]:
        return None
    return Mistake(
        name=keys(minimum, maximum),
        value=given(values, minimum, maximum),
        allowed=f"{keys(minimum)} not above {keys(maximum)}",
        remedy=f"pulumi config set {keys(maximum)} {values[minimum]}, or lower {keys(minimum)}",
    )


def _shape(values: Mapping[str, Any], vpc: str, shape: str) -> Mistake | None:
    default = CIDR_BLOCK if shape == "vpc_cidr" else NAT_GATEWAYS
    if shape_mistake(values[vpc], shape, values[shape], default) is None:
        return None
    return Mistake(
        name=keys(vpc, shape),
        value=given(values, vpc, shape),
        allowed=f"{keys(shape)} only with a VPC of the stack's own",
        remedy=f"pulumi config set vpc own, or pulumi config rm {keys(shape)}",
    )


def _https(values: Mapping[str, Any], *names: str) -> Mistake | None:
    domain_name, zone_name, certificate = (values[name] for name in names)
    if not any((domain_name, zone_name, certificate)):
        return None
    problem = https_problem(domain_name, zone_name, has_certificate=bool(certificate))
    if problem is None:
        return None
    allowed, remedy = problem
    return Mistake(name=keys(*names), value=given(values, *names), allowed=allowed, remedy=remedy)


def _certificate(values: Mapping[str, Any], name: str) -> Mistake | None:
    # A load balancer takes a certificate of its own region alone.
    region = pulumi.Config("aws").get("region")
    if not values[name] or not region or in_region(values[name], region):
        return None
    return Mistake(
        name=keys(name),
        value=given(values, name),
        allowed=f"a certificate of the stack's region, {region}",
        remedy=f"request or import one in {region}, or pulumi config rm {keys(name)}: with a hostedZoneName one is made",
    )


_CHECKS: tuple[tuple[Callable[..., Mistake | None], tuple[str, ...]], ...] = (
    (_size, ("api_cpu", "api_memory")),
    (_size, ("worker_cpu", "worker_memory")),
    (_bounds, ("api_min_tasks", "api_max_tasks")),
    (_bounds, ("worker_min_tasks", "worker_max_tasks")),
    (_shape, ("vpc", "nat_gateways")),
    (_shape, ("vpc", "vpc_cidr")),
    (_https, ("domain_name", "hosted_zone_name", "certificate_arn")),
    (_certificate, ("certificate_arn",)),
)
