"""One deployment of the local stack by the engine: the embedded AWS made to agree first, the state read afterwards."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local.engine import Engine
from local.paths import LocalPaths
from local.restore import put_back, undo_unfinished

Resources = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Deployed:
    """What an `up` came to: the state's resources, and how many resources each operation touched."""

    resources: Resources
    changes: Mapping[str, int]

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs."""
        for resource in self.resources:
            if resource["type"] == "pulumi:pulumi:Stack":
                return dict(resource.get("outputs") or {})
        return {}


@contextmanager
def engine_turn(paths: LocalPaths, report: Callable[[str], None]) -> Iterator[None]:
    """Holds the engine's lock of this checkout: one deployment at a time."""
    paths.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with paths.deploy_lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another deployment of this checkout to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def reconcile(engine: Engine, deployment: Mapping[str, Any], endpoint: str, *, restart: bool) -> list[str]:
    """Takes up where an interrupted engine left off. Returns the URNs that it was working on.

    `deployment` is the engine's state; `restart` says that the embedded AWS is empty: everything that the state has is
    created again. The caller holds the engine's turn.
    """
    if restart:
        put_back(deployment.get("resources") or [], endpoint)
    unfinished = undo_unfinished(deployment, endpoint)
    if unfinished:
        engine.replace_deployment({**deployment, "pending_operations": []})
    return unfinished


def deploy(engine: Engine) -> Deployed:
    """Runs `up`. The caller holds the engine's turn. Raises `EngineFailed`."""
    changes = engine.up()
    return Deployed(engine.deployment().get("resources") or [], changes)
