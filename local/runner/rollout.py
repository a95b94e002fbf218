"""What a deployment came to, and how the services are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DeploymentState = Literal["steady", "rolling", "rolled back", "failed", "draining"]


@dataclass(frozen=True)
class Failure:
    """Why a service does not run what was deployed.

    `reason` is one sentence, `stopped` says why each of the last tasks stopped (newest last), `log_tail` holds the last
    lines that the newest of them printed, and `rolled_back` whether the service runs on with its former definition.
    """

    service: str
    reason: str
    stopped: tuple[str, ...] = ()
    log_tail: str = ""
    rolled_back: bool = False

    def __str__(self) -> str:
        lines = [f"{self.service}: {self.reason}", *(f"  {stopped}" for stopped in self.stopped)]
        lines += [f"  | {line}" for line in self.log_tail.splitlines()]
        if self.rolled_back:
            lines.append("  rolled back: the former tasks go on")
        return "\n".join(lines)


@dataclass(frozen=True)
class Rollout:
    """The outcome of one deployment over all services."""

    failed: Sequence[Failure] = ()

    @property
    def ok(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        return "\n".join(str(failure) for failure in self.failed) if self.failed else "every service is stable"


@dataclass(frozen=True)
class ServiceStatus:
    """One service at one moment. Counts are of tasks: `running` includes those that are not healthy yet."""

    service: str
    desired: int
    running: int
    healthy: int
    state: DeploymentState

    def __str__(self) -> str:
        suffix = "" if self.state == "steady" else f" ({self.state})"
        return f"{self.service} {self.healthy}/{self.desired} healthy{suffix}"
