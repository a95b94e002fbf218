"""How long creating, updating and deleting an ECS service may take, from what the service is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pulumi

START_SECONDS = 240
"""From the decision to start a task to its process: network interface, image pull, volumes, init."""

BREAKER_SECONDS = 18 * 60
"""What a circuit breaker was seen to take where three attempts should have been quicker: ECS waits longer and longer
between attempts (pulumi/pulumi-awsx#1848)."""

SCALER_SECONDS = 120
"""From a scalable target with new bounds to a service with a new count."""

FEWEST_SECONDS = 20 * 60
"""The provider's own bound, for what nobody has thought of."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What the time of a deployment follows from, in seconds, tasks and percent of the tasks.

    `healthy_seconds` is how long a task that has started takes to be found healthy, or not; `release_seconds` how long
    the load balancer takes to let go of one, `stop_timeout_seconds` how long its process may take then, and
    `protection_seconds` how long a task may keep ECS from stopping it, in a deployment as well.
    """

    tasks: int
    healthy_seconds: int
    stop_timeout_seconds: int
    release_seconds: int = 0
    protection_seconds: int = 0
    minimum_percent: int = 100
    maximum_percent: int = 200

    @property
    def _waves(self) -> int:
        """How many times tasks are started and old ones stopped until all are new."""
        tasks = max(1, self.tasks)
        room = tasks * self.maximum_percent // 100 - math.ceil(tasks * self.minimum_percent / 100)
        return math.ceil(tasks / max(1, room))

    @property
    def _attempts(self) -> int:
        """How many rounds of failing tasks the circuit breaker sees: its threshold is half of the tasks, 3 to 200.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html"""
        tasks = max(1, self.tasks)
        return math.ceil(min(max(3, math.ceil(tasks / 2)), 200) / tasks)


def timeouts(pace: Pace) -> pulumi.CustomTimeouts:
    """The bounds, in whole minutes, of what a service of this pace needs at worst.

    - A start is START_SECONDS and the health checks. A stop is the protection's end, the load balancer's release and the
      stop timeout.
    - Create: a start, or the circuit breaker's attempts, each a start and a stop.
    - Update: a start and a stop for each wave; a deployment that fails has the breaker's attempts before it, and its own
      tasks, protected too, to stop when it goes back.
    - Delete: a stop.

    Waiting longer costs nothing when all is well, and giving up early leaves a deployment to go on by itself.
    """
    start = START_SECONDS + pace.healthy_seconds
    stop = pace.protection_seconds + pace.release_seconds + pace.stop_timeout_seconds
    # What fails to become healthy does no work that it would protect.
    attempt = start + pace.release_seconds + pace.stop_timeout_seconds
    failing = max(pace._attempts * attempt, BREAKER_SECONDS)
    return pulumi.CustomTimeouts(
        create=_minutes(failing + start),
        update=_minutes(failing + pace._waves * (start + stop) + stop),
        delete=_minutes(START_SECONDS + stop),
    )


def settling_seconds(pace: Pace) -> int:
    """How long the number of tasks may lag behind what was asked: the scaler raises it a while after its minimum was
    raised, or ECS has just lost a task, and a task has to start."""
    return SCALER_SECONDS + START_SECONDS + pace.healthy_seconds


def _minutes(seconds: int) -> str:
    return f"{math.ceil(max(seconds, FEWEST_SECONDS) / 60)}m"
