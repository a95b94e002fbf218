"""What a workload may do with a resource, as a value that a resource component hands out.

A use carries everything that this takes, so that nothing is wired by hand and no permission is written twice. Workloads
take a list of uses and know nothing of the components behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any

import pulumi

from components.arguments import Between, Described, Hidden, Matching, Text, Valid, check_fields
from components.errors import ArgumentError, Mistake, raise_mistakes
from components.iam import Statement

Variable = Annotated[
    str, Matching(r"[A-Za-z_][A-Za-z0-9_.-]*", "a name of letters, digits and _ . -", "write it as 'LOG_LEVEL'")
]
"""The name of an environment variable."""

Environment = Mapping[Variable, Annotated[pulumi.Input[str], Hidden()]]
"""Environment variables and their values, which no message shows: an API key may be among them."""

SecretArn = Annotated[
    pulumi.Input[str], Matching("arn:.+", "the ARN of a parameter or a secret", "give the parameter's arn"), Hidden()
]
"""Where ECS finds a secret; never the secret itself."""

Port = Annotated[int, Between(1, 65_535)]
"""A TCP port."""

_OF_THE_KERNEL = ("/proc", "/sys", "/dev")
_OF_THE_IMAGE = (
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/sbin",
)


def container_path_problem(path: str) -> str | None:
    """What is allowed in place of this directory to mount at, in words; None when it will do."""
    pure = PurePosixPath(path)
    if (
        not path.startswith("/")
        or str(pure) != path
        or ".." in pure.parts
        or path == "/"
        or path.startswith("//")
        or ":" in path
        or any(mark.isspace() for mark in path)
    ):
        return "an absolute path below / without spaces, a trailing slash, .. or :"
    if any(pure.is_relative_to(system) for system in _OF_THE_KERNEL):
        return f"a path outside of {', '.join(_OF_THE_KERNEL)}, which are the kernel's"
    if path in _OF_THE_IMAGE:
        return "a directory of its own: mounted here, it would hide the image's programs and settings"
    return None


ContainerPath = Annotated[str, Valid(container_path_problem, "write it as '/mnt/files'")]
"""A directory in the container to mount something at."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """An EFS access point mounted into the container at `container_path`, encrypted in transit and authorised by
    IAM."""

    volume: Text
    container_path: ContainerPath
    file_system_id: pulumi.Input[str]
    access_point_id: pulumi.Input[str]

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A TCP `port` that the tasks must reach on whatever is behind `security_group_id`; `name` names the rules."""

    name: Annotated[
        str,
        Matching(
            r"(?!https$)[A-Za-z0-9-]+",
            "letters, digits and hyphens, but not https, which every task reaches",
            "name it after what is reached, as 'orders-db'",
        ),
    ]
    security_group_id: pulumi.Input[str]
    port: Port

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Use:
    """All that one use of one resource takes.

    `source` is the name of the component that hands the use out; `statements` go to the task role; `secrets`
    (environment variable to ARN) are injected by ECS, which `execution_statements` allow to the execution role;
    `depends_on` must exist before a task starts; `vpc_id` is the one network from which it can be reached. Raises
    ArgumentError for what cannot be.
    """

    source: Text
    statements: tuple[Statement, ...] = ()
    execution_statements: tuple[Statement, ...] = ()
    environment: Environment = field(default_factory=dict)
    secrets: Mapping[Variable, SecretArn] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    reaches: tuple[Reach, ...] = ()
    depends_on: tuple[pulumi.Resource, ...] = ()
    vpc_id: pulumi.Input[str] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.secrets and not self.execution_statements:
            raise ArgumentError(
                f"Use of {self.source!r}",
                Mistake(
                    name="secrets",
                    value=", ".join(self.secrets),
                    allowed="secrets with the execution_statements by which ECS reads them",
                    remedy="add execution_statements=(Statement(actions=('ssm:GetParameters',), resources=(arn,)),)",
                ),
            )


AnyUse = Annotated[
    Use,
    Described(
        "a use, which a resource's method gives",
        "write what is done with it, such as queue.sending(), bucket.writing('in/') or volume.mounted_at('/mnt/files')",
    ),
]

RESERVED = {
    "AWS_ACCESS_KEY_ID": "the task role gives credentials",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "ECS sets it",
    "AWS_DEFAULT_REGION": "ECS sets it",
    "AWS_EXECUTION_ENV": "ECS sets it",
    "AWS_REGION": "it is the stack's region",
    "AWS_SECRET_ACCESS_KEY": "the task role gives credentials",
    "AWS_SESSION_TOKEN": "the task role gives credentials",
    "ECS_AGENT_URI": "ECS sets it",
    "ECS_CONTAINER_METADATA_URI": "ECS sets it",
    "ECS_CONTAINER_METADATA_URI_V4": "ECS sets it",
    "METRICS_NAMESPACE": "it is the project and the stack",
    "PATH": "the image says where its programs are",
    "PORT": "it is the argument port",
    "STOP_TIMEOUT_SECONDS": "it is the argument stop_timeout_seconds",
}
"""Environment variables that no workload may set, and why: another value would contradict what is deployed around it.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html"""


def check_uses(
    component: str,
    uses: Iterable[Use],
    environment: Environment | None = None,
    scratch: Iterable[str] = (),
    vpc_id: pulumi.Input[str] | None = None,
) -> None:
    """Raises ArgumentError when uses, or a use and the arguments `environment` and `scratch`, contradict each other."""
    given = tuple(uses)
    mistakes = [
        *_reserved_mistakes(given, environment or {}),
        *_variable_mistakes(given, environment or {}),
        *_mount_mistakes(given, scratch),
        *_reach_mistakes(given),
        *_network_mistakes(given, vpc_id),
    ]
    raise_mistakes(component, mistakes)


def _reserved_mistakes(uses: tuple[Use, ...], environment: Environment) -> Iterator[Mistake]:
    told = [
        ("environment", environment),
        *((f"the use of {use.source!r}", {**use.environment, **use.secrets}) for use in uses),
    ]
    for where, variables in told:
        for variable in variables:
            if variable in RESERVED:
                yield Mistake(
                    name=where,
                    value=variable,
                    allowed=f"a variable that is not told already: {RESERVED[variable]}",
                    remedy="choose another name for the variable",
                )


def _variable_mistakes(uses: tuple[Use, ...], environment: Environment) -> Iterator[Mistake]:
    seen: dict[str, tuple[Any, str]] = {}
    claims: list[tuple[str, Any, str]] = [
        (variable, value, "the argument `environment`") for variable, value in environment.items()
    ]
    for use in uses:
        owner = f"the use of {use.source!r}"
        claims += [(variable, value, owner) for variable, value in use.environment.items()]
        claims += [
            (variable, ("secret", value), f"a secret of {use.source!r}") for variable, value in use.secrets.items()
        ]
    for variable, value, owner in claims:
        first, first_owner = seen.setdefault(variable, (value, owner))
        if not _same(first, value):
            yield _clash("environment variable", variable, first_owner, owner, "one value for each variable")


def _same(first: Any, second: Any) -> bool:
    # Two outputs can't be compared before their values come: only one and the same is known to be equal.
    if isinstance(first, tuple) and isinstance(second, tuple):
        return _same(first[1], second[1])
    return first is second or (isinstance(first, str) and isinstance(second, str) and first == second)


def _mount_mistakes(uses: tuple[Use, ...], scratch: Iterable[str]) -> Iterator[Mistake]:
    volumes: dict[str, tuple[Mount, str]] = {}
    for use in uses:
        for mount in use.mounts:
            first, first_owner = volumes.setdefault(mount.volume, (mount, use.source))
            same = _same(first.file_system_id, mount.file_system_id) and _same(
                first.access_point_id, mount.access_point_id
            )
            if not same:
                owners = f"the use of {first_owner!r}", f"the use of {use.source!r}"
                yield _clash("volume", mount.volume, *owners, "one file system and access point for each volume")
    mounts = [(path, "the argument `scratch`") for path in scratch]
    mounts += [(mount.container_path, f"the use of {use.source!r}") for use in uses for mount in use.mounts]
    for index, (path, owner) in enumerate(mounts):
        for other, other_owner in mounts[:index]:
            if path == other:
                yield _clash("directory", path, other_owner, owner, "one source for each directory")
            elif PurePosixPath(path).is_relative_to(other) or PurePosixPath(other).is_relative_to(path):
                # ECS promises no order, and the outer one mounted last hides the inner one.
                yield Mistake(
                    name="uses",
                    value=f"{path} of {owner} and {other} of {other_owner}",
                    allowed="directories that do not lie in each other",
                    remedy="mount them side by side, such as at /mnt/a and /mnt/b",
                )


def _reach_mistakes(uses: tuple[Use, ...]) -> Iterator[Mistake]:
    seen: dict[str, tuple[Reach, str]] = {}
    for use in uses:
        for reach in use.reaches:
            owner = f"the use of {use.source!r}"
            first, first_owner = seen.setdefault(reach.name, (reach, owner))
            if first.port != reach.port or not _same(first.security_group_id, reach.security_group_id):
                yield _clash("reach", reach.name, first_owner, owner, "one security group and port for each name")


def _network_mistakes(uses: tuple[Use, ...], vpc_id: pulumi.Input[str] | None) -> Iterator[Mistake]:
    for use in uses:
        if None not in (use.vpc_id, vpc_id) and not _same(use.vpc_id, vpc_id):
            yield Mistake(
                name="uses",
                value=f"the use of {use.source!r}, which lies in another network",
                allowed="what the tasks can reach from their cluster's network",
                remedy="give both the same Network",
            )


def _clash(kind: str, what: str, first: str, second: str, allowed: str) -> Mistake:
    return Mistake(
        name="uses",
        value=f"the {kind} {what!r} comes from {first} and from {second}",
        allowed=allowed,
        remedy="drop one of the two, or give one of them another name",
    )
