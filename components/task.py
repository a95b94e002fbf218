"""What a workload runs: its container, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from components.arguments import Between, Matching, Text, Valid, check_fields
from components.errors import ArgumentError, Mistake
from components.fargate import Size
from components.image import Image
from components.network import Network
from components.uses import AnyUse, ContainerPath, Environment, check_uses

MAX_STOP_TIMEOUT = 120
"""Seconds; Fargate's limit.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"""

USER_ID = 10001
"""The uid and gid that containers run as where nothing else is said: not root's, and no image's own."""

CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
"""What a container may do beyond an ordinary process unless it is dropped.
https://docs.docker.com/engine/security/#linux-kernel-capabilities"""

_FIRST_FREE_PORT = 1024


def _check_problem(command: Sequence[str]) -> str | None:
    match list(command):
        case ["CMD", _, *_] | ["CMD-SHELL", _]:
            return None
    return "CMD and the command, word by word, or CMD-SHELL and one line for the shell"


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A check that ECS runs inside the container; a task that fails it `retries` times in a row is replaced.

    `command` begins with `CMD` or `CMD-SHELL`, as Docker's; failures within `start_period_seconds` don't count. Ranges
    are ECS's: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html. Raises ArgumentError.
    """

    command: Annotated[
        Sequence[Text], Valid(_check_problem, "write it as ['CMD-SHELL', 'curl -f http://localhost:8080/ || exit 1']")
    ]
    interval_seconds: Annotated[int, Between(5, 300)] = 10
    timeout_seconds: Annotated[int, Between(2, 60)] = 5
    retries: Annotated[int, Between(1, 10)] = 3
    start_period_seconds: Annotated[int, Between(0, 300)] = 30

    def __post_init__(self) -> None:
        check_fields(self)


User = Annotated[
    str,
    Matching(
        r"([A-Za-z_][\w.-]*|[0-9]{1,10})(:([A-Za-z_][\w.-]*|[0-9]{1,10}))?",
        "a name or a number of a user, and of a group after a colon",
        f"write it as '{USER_ID}:{USER_ID}', or '0:0' for root",
    ),
]

Scratch = Mapping[ContainerPath, Annotated[int, Between(1, 65_536)]]

Capability = Annotated[
    str,
    Valid(
        lambda name: None if name in CAPABILITIES else f"one of {', '.join(CAPABILITIES)}",
        "name what the image's own start needs: CHOWN, SETGID and SETUID for one that begins as root, and NET_BIND_SERVICE "
        "for a port below 1024",
    ),
]

StopTimeout = Annotated[int, Between(1, MAX_STOP_TIMEOUT, "Fargate's limit")]


class ContainerArguments(TypedDict, total=False):
    """What every workload takes for its container, beside the image and the size. The defaults are `Task`'s."""

    command: Sequence[Text]
    uses: Sequence[AnyUse]
    environment: Environment
    stop_timeout_seconds: StopTimeout
    health_check: HealthCheck | None
    user: User
    read_only_root: bool
    scratch: Scratch
    keep_capabilities: Sequence[Capability]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a workload runs: one container of an `image`, in a task of a `size`.

    - `command` goes to the image's entry point; empty leaves the image's own.
    - `uses` says what the task does with which resources, `environment` what no use says.
    - `stop_timeout_seconds` (1 to 120) is the time between SIGTERM and SIGKILL. The process is told it as
      `STOP_TIMEOUT_SECONDS`, beside `AWS_REGION`, `METRICS_NAMESPACE` (`<project>/<stack>`) and its `PORT`.
    - `health_check` is run by ECS inside the container; a load balancer's own check needs none.
    - `user` is who the process runs as, 10001:10001 unless said otherwise: any image takes a number, and it is not root.
    - `read_only_root` keeps the process from changing its image; `scratch` (directory to MiB) is where it may write all the
      same: in memory, gone with the task, and a part of the task's memory.
    - `keep_capabilities` are those that are not dropped, as an image needs that begins as root and changes its user.

    Raises ArgumentError for arguments that cannot work.
    """

    image: Image
    size: Size
    command: Sequence[Text] = ()
    uses: Sequence[AnyUse] = ()
    environment: Environment = field(default_factory=dict)
    stop_timeout_seconds: StopTimeout = 60
    health_check: HealthCheck | None = None
    user: User = f"{USER_ID}:{USER_ID}"
    read_only_root: bool = True
    scratch: Scratch = field(default_factory=dict)
    keep_capabilities: Sequence[Capability] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def healthy_seconds(self) -> int:
        """How long the container's own check takes to find a task that has started healthy, or not."""
        check = self.health_check
        return check.start_period_seconds + check.interval_seconds * check.retries if check else 0

    def check(self, component: str, network: Network, port: int | None = None) -> None:
        """Raises ArgumentError for arguments that cannot work together, in this network or with the container's `port`."""
        if port is not None and port < _FIRST_FREE_PORT and not self._may_bind_low_ports:
            # ECS leaves the kernel's bound where it is, unlike Docker (aws/containers-roadmap#1721).
            raise ArgumentError(
                component,
                Mistake(
                    name="port, user, keep_capabilities",
                    value=f"{port}, {self.user}, {list(self.keep_capabilities)}",
                    allowed=f"a port from {_FIRST_FREE_PORT} for a process without the capability NET_BIND_SERVICE",
                    remedy="let the container listen on 8080, or begin as root: user='0:0' and "
                    "keep_capabilities=['NET_BIND_SERVICE', ...]",
                ),
            )
        check_uses(component, self.uses, self.environment, self.scratch, network.vpc_id)
        in_memory = sum(self.scratch.values())
        if in_memory >= self.size.memory:
            raise ArgumentError(
                component,
                Mistake(
                    name="scratch",
                    value=f"{in_memory} MiB in all",
                    allowed=f"less than the task's memory, which is {self.size.memory} MiB: it is a part of it",
                    remedy="make the directories smaller or the task larger",
                ),
            )

    @property
    def _may_bind_low_ports(self) -> bool:
        return self.user.partition(":")[0] in ("0", "root") and "NET_BIND_SERVICE" in self.keep_capabilities

    @property
    def drop_capabilities(self) -> tuple[str, ...]:
        """The capabilities that the container loses: all, or all of the default ones that are not kept."""
        if not self.keep_capabilities:
            return ("ALL",)
        # Fargate adds none but SYS_PTRACE, so that ALL can't be dropped and some added again.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_KernelCapabilities.html
        return tuple(name for name in CAPABILITIES if name not in self.keep_capabilities)
