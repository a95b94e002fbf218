"""Revision numbers of task definitions: they count up for ever, over replacements and restarts, as ECS's do."""

from __future__ import annotations

import fcntl
import json

from local.paths import local_paths


def next_revision(family: str) -> int:
    """The number after the last one that this checkout gave to the family; 1 for a new one."""
    file = local_paths().folder / "revisions.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        revisions = json.loads(handle.read() or "{}")
        revisions[family] = int(revisions.get(family, 0)) + 1
        handle.seek(0)
        handle.truncate()
        handle.write(json.dumps(revisions))
    return int(revisions[family])
