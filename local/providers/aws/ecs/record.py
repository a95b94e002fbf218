"""What "ECS" runs, beside what the engine's state says: one record a service, by its ARN.

It is a JSON file of the local folder (`ecs.json`), so that all processes of the engine agree. Which deployments fail is said
by another one, which tests write: `ecs-faults.json` maps the beginnings of services' names to the reason that their new
tasks fail for, as in `{"worker": "tasks failed to start"}`. What comes of that follows from ECS's own rules.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.paths import local_paths

Record = dict[str, Any]
Deployment = dict[str, Any]


@contextmanager
def records() -> Iterator[dict[str, Record]]:
    """Every service's record by its ARN, for this process alone until the block ends; then it is written down.

    A record has `definition` (the service's properties as ECS has them), `runningCount`, `deployments` (the primary one
    first, as DescribeServices answers them; `completed` says whether it has ever been steady), `events`, `createdAt`.
    """
    file = local_paths().ecs
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        before = handle.read() or "{}"
        found: dict[str, Record] = json.loads(before)
        yield found
        if (after := json.dumps(found)) != before:
            handle.seek(0)
            handle.truncate()
            handle.write(after)


def fault_of(name: str) -> str | None:
    """Why new tasks of the service `name` fail; None when they don't."""
    file = local_paths().ecs_faults
    faults = json.loads(file.read_text()) if file.exists() else {}
    return next((str(reason) for prefix, reason in faults.items() if name.startswith(prefix)), None)


def new_deployment(definition: Record, *, running: int) -> Deployment:
    """A primary deployment of what the definition says; steady when all its tasks run."""
    desired = int(definition.get("desiredCount", 0))
    return {
        "id": f"ecs-svc/{secrets.randbelow(10**19):019d}",
        "status": "PRIMARY",
        "taskDefinition": definition.get("taskDefinition", ""),
        "desiredCount": desired,
        "runningCount": running,
        "completed": running == desired,
        "createdAt": now(),
        "updatedAt": now(),
    }


def now() -> str:
    """RFC 3339, as the provider's data source answers times."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
