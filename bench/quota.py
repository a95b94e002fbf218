"""A share of a core, as a task of 256 CPU units has it: a control group with a quota.

Fargate bounds a task by the control group's quota, in periods of 100 ms: a busy task runs for 25 ms of each and stands
still for 75. https://docs.kernel.org/scheduler/sched-bwc.html, https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


def unavailable() -> str | None:
    """Why no quota can be set here, or None."""
    return None if _parent() is not None else "no control group for CPU time can be made here (root, cgroup v1 or v2)"


@contextlib.contextmanager
def prefix(share: float) -> Iterator[list[str]]:
    """What goes before a command that is to have ``share`` of a core, with its children. The command must end first."""
    parent = _parent()
    if parent is None:
        raise OSError(unavailable())
    group = parent / f"bench-{uuid.uuid4().hex[:12]}"
    group.mkdir()
    try:
        quota = int(share * _PERIOD_US)
        if parent == _V1:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _parent() -> Path | None:
    if os.access(_V1 / "cpu.cfs_quota_us", os.R_OK) and os.access(_V1, os.W_OK):
        return _V1
    control = _V2 / "cgroup.subtree_control"
    if os.access(control, os.W_OK) and "cpu" in control.read_text().split():
        return _V2
    return None
