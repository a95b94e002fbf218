"""What a workload may do with a resource, as a value that a resource component hands out.

A use carries everything that this takes, so that nothing is wired by hand and no permission is written twice. Workloads
take a list of uses and know nothing of the components behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pulumi

from components.errors import ArgumentError, Mistake
from components.iam import Statement


@dataclass(frozen=True, kw_only=True)
class Mount:
    """An EFS access point mounted into the container at `container_path`, encrypted in transit and authorised by
    IAM."""

    volume: str
    container_path: str
    file_system_id: pulumi.Input[str]
    access_point_id: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A TCP `port` that the tasks must reach on whatever is behind `security_group_id`; `name` names the rules."""

    name: str
    security_group_id: pulumi.Input[str]
    port: int


@dataclass(frozen=True, kw_only=True)
class Use:
    """All that one use of one resource takes.

    `source` is the name of the component that hands the use out; `statements` go to the task role; `secrets`
    (environment variable to ARN) are injected by ECS, which `execution_statements` allow to the execution role;
    `depends_on` must exist before a task starts.
    """

    source: str
    statements: tuple[Statement, ...] = ()
    execution_statements: tuple[Statement, ...] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    reaches: tuple[Reach, ...] = ()
    depends_on: tuple[pulumi.Resource, ...] = ()


def check_uses(component: str, uses: Iterable[Use], environment: Iterable[str] = ()) -> None:
    """Raises ArgumentError when two components claim one environment variable, or two mounts one directory."""
    variables = dict.fromkeys(environment, "the argument `environment`")
    directories: dict[str, str] = {}
    mistakes = []
    for use in uses:
        owner = f"the use of {use.source!r}"
        for variable in (*use.environment, *use.secrets):
            if variables.setdefault(variable, owner) != owner:
                mistakes.append(_clash("environment variable", variable, variables[variable], owner))
        for mount in use.mounts:
            if mount.container_path in directories:
                mistakes.append(_clash("directory", mount.container_path, directories[mount.container_path], owner))
            directories[mount.container_path] = owner
    if mistakes:
        raise ArgumentError(component, *mistakes)


def _clash(kind: str, what: str, first: str, second: str) -> Mistake:
    return Mistake(
        name="uses",
        value=f"the {kind} {what!r} comes from {first} and from {second}",
        allowed=f"one source for each {kind}",
        remedy="drop one of the two, or give one of the components another name",
    )
