"""The stack's configuration: every key, what it means, what it takes, and what goes together."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from components.address_block import ADDRESS_BLOCKS, address_block_problem
from components.cluster import LOG_RETENTION_DAYS
from components.configuration import given, key, keys, load_settings
from components.errors import Mistake
from components.fargate import MEMORY_BY_CPU, Size, size_mistake
from components.image import ARCHITECTURES
from components.load_balancer import CERTIFICATE, DOMAIN, Https, https_problem
from components.network import CIDR_BLOCK, MAX_ZONES, NAT_GATEWAYS, shape_mistake
from components.schedule_expression import EXPRESSIONS, TIMEZONES, schedule_problem, timezone_problem

_CPU: dict[str, Any] = {"allowed": ", ".join(map(str, MEMORY_BY_CPU)), "valid": lambda value: value in MEMORY_BY_CPU}
_MEMORY: dict[str, Any] = {
    "allowed": "what Fargate has for this CPU",
    "valid": lambda value: any(value in memories for memories in MEMORY_BY_CPU.values()),
}


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


def _between(low: int, high: int) -> Callable[[int], bool]:
    return lambda value: low <= value <= high


def _always(_: object) -> bool:
    return True


def _empty_or(pattern: str) -> Callable[[str], bool]:
    return lambda value: not value or re.fullmatch(pattern, value) is not None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration of a stack, read and checked as a whole.

    Each field is a key of Pulumi.yaml in snake_case. Get it with `Settings.load()`.
    """

    production: bool = key(
        False,
        "Protects what holds data from deletion, keeps logs when what wrote them is deleted, and lets the sweep run.",
        allowed="true or false",
        valid=_always,
    )
    vpc: str = key(
        "default",
        "Network: the account's default VPC, a VPC of the stack's own, or a VPC that exists, by its id or Name tag.",
        allowed="default, own, an id or a name",
        valid=lambda value: bool(value) and value == value.strip(),
    )
    vpc_cidr: str = key(
        CIDR_BLOCK,
        "Addresses of the stack's own VPC; for vpc own alone.",
        allowed=ADDRESS_BLOCKS,
        valid=lambda value: address_block_problem(value) is None,
    )
    availability_zones: int = key(
        2,
        "Availability zones to spread over; a load balancer needs two.",
        allowed=f"2 to {MAX_ZONES}",
        valid=_between(2, MAX_ZONES),
    )
    nat_gateways: str = key(
        "none",
        "NAT gateways of the stack's own VPC; for vpc own alone. With them tasks run in private subnets; with none, in "
        "public subnets that nothing may enter.",
        allowed="none, single or per-az",
        valid=_one_of("none", "single", "per-az"),
    )
    image_platform: str = key(
        "linux/amd64",
        "Platform that the image is built for and tasks run on.",
        allowed=" or ".join(ARCHITECTURES),
        valid=_one_of(*ARCHITECTURES),
    )
    image_base: str = key(
        "",
        "Base image in place of the Dockerfile's own.",
        allowed="empty, or an image reference",
        valid=lambda value: value == "".join(value.split()),
    )
    tracing_endpoint: str = key(
        "",
        "OTLP/HTTP endpoint that traces go to. Without one nothing is traced, and the image has nothing for it.",
        allowed="empty, or an https:// address without a port: HTTPS is what tasks may reach",
        valid=lambda value: not value or re.fullmatch(r"https://[^\s/:?#@]+(/[^\s?#]*)?", value) is not None,
        # What is refused may have a password before the host, or a key in its query.
        shown=False,
    )
    api_enabled: bool = key(
        True,
        "Whether the API runs; without it there is no load balancer, and the rest stays.",
        allowed="true or false",
        valid=_always,
    )
    api_cpu: int = key(256, "CPU of an API task (1024 is a vCPU).", **_CPU)
    api_memory: int = key(1024, "Memory of an API task in MiB.", **_MEMORY)
    api_min_tasks: int = key(1, "Fewest API tasks.", allowed="1 to 1000", valid=_between(1, 1000))
    api_max_tasks: int = key(
        2, "Most API tasks; the same as the fewest fixes the number.", allowed="1 to 1000", valid=_between(1, 1000)
    )
    api_cpu_target: int = key(
        60, "Average CPU use in percent that API tasks are added above.", allowed="10 to 90", valid=_between(10, 90)
    )
    api_requests_per_task: int = key(
        600,
        "Requests a minute for each API task that tasks are added above.",
        allowed="1 to 1000000",
        valid=_between(1, 1_000_000),
    )
    api_token: str = key(
        "",
        "Token that the API asks for. Empty makes a random one when the parameter is created and leaves it alone from "
        "then on. Set it with: pulumi config set --secret apiToken.",
        allowed="empty, or 16 to 4096 printable ASCII characters without spaces, encrypted",
        valid=lambda value: not value or re.fullmatch(r"[!-~]{16,4096}", value) is not None,
        secret=True,
    )
    files_auth: str = key(
        "token",
        "Whether the file routes ask for the token.",
        allowed="token or none",
        valid=_one_of("token", "none"),
    )
    files_max_bytes: int = key(
        5_368_709_120,
        "Largest file in bytes.",
        allowed="1 to 51677046505472 (47 TiB, the most that fits into a file on EFS)",
        valid=_between(1, 47 * 1024**4),
    )
    domain_name: str = key(
        "",
        "Name that clients use. With it the API is served over HTTPS.",
        allowed="empty, or a lower-case domain name",
        valid=_empty_or(DOMAIN),
    )
    hosted_zone_name: str = key(
        "",
        "Public Route 53 zone that gets the name's record and proves the certificate.",
        allowed="empty, or a lower-case domain name",
        valid=_empty_or(DOMAIN),
    )
    certificate_arn: str = key(
        "",
        "ACM certificate to use instead of a new one.",
        allowed="empty, or an ARN as in arn:aws:acm:us-east-1:123456789012:certificate/...",
        valid=_empty_or(CERTIFICATE),
    )
    worker_cpu: int = key(256, "CPU of a worker task (1024 is a vCPU).", **_CPU)
    worker_memory: int = key(1024, "Memory of a worker task in MiB.", **_MEMORY)
    worker_min_tasks: int = key(
        1,
        "Fewest worker tasks; 0 starts the first one when messages wait.",
        allowed="0 to 1000",
        valid=_between(0, 1000),
    )
    worker_max_tasks: int = key(
        4, "Most worker tasks; the same as the fewest fixes the number.", allowed="1 to 1000", valid=_between(1, 1000)
    )
    worker_latency_seconds: int = key(
        60, "How long a message may wait before workers are added.", allowed="1 to 86400", valid=_between(1, 86_400)
    )
    worker_message_milliseconds: int = key(
        10,
        "How long one worker task takes for a message, all its threads counted.",
        allowed="1 to 3600000",
        valid=_between(1, 3_600_000),
    )
    worker_spot_percent: int = key(
        0,
        "Share of worker tasks on Fargate Spot, beyond the first, which is on demand.",
        allowed="0 to 100",
        valid=_between(0, 100),
    )
    sweep_state: str = key(
        "auto",
        "Whether the sweep runs on its schedule; auto is enabled in production and disabled elsewhere.",
        allowed="auto, enabled or disabled",
        valid=_one_of("auto", "enabled", "disabled"),
    )
    sweep_schedule: str = key(
        "rate(1 hour)", "When the sweep runs.", allowed=EXPRESSIONS, valid=lambda value: schedule_problem(value) or True
    )
    sweep_timezone: str = key(
        "UTC",
        "Time zone of the sweep's schedule.",
        allowed=TIMEZONES,
        valid=lambda value: timezone_problem(value) is None,
    )
    log_retention_days: int = key(
        30,
        "How long logs are kept.",
        allowed=", ".join(map(str, LOG_RETENTION_DAYS)),
        valid=lambda value: value in LOG_RETENTION_DAYS,
    )

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


_CHECKS: tuple[tuple[Callable[..., Mistake | None], tuple[str, ...]], ...] = (
    (_size, ("api_cpu", "api_memory")),
    (_size, ("worker_cpu", "worker_memory")),
    (_bounds, ("api_min_tasks", "api_max_tasks")),
    (_bounds, ("worker_min_tasks", "worker_max_tasks")),
    (_shape, ("vpc", "nat_gateways")),
    (_shape, ("vpc", "vpc_cidr")),
    (_https, ("domain_name", "hosted_zone_name", "certificate_arn")),
)
