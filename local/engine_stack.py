"""A stack of the automation API at the price of one command of the engine's CLI an operation.

The API surrounds each operation with others: the CLI's version, `stack select`, and after an update `stack output`, twice,
and `stack history`. Each starts the engine anew (0.4 s of CPU), those with secrets derive the key from the passphrase as
well (another 0.4 s): 3.5 s, as long as an update without changes. Every command names its stack, and what an update
has changed is among its events.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi.automation as automation
from pulumi.automation._stack import StackInitMode
from semver import VersionInfo

from local.toolchain.engine import VERSION


class _Command(automation.PulumiCommand):
    def __init__(self, executable: Path) -> None:
        self.command = str(executable)
        # At the least: whoever has found it has looked.
        self.version = VersionInfo.parse(VERSION)


class _Workspace(automation.LocalWorkspace):
    def select_stack(self, stack_name: str) -> None:
        """Its commands name the stack."""


class EngineStack(automation.Stack):
    """`exists` says that it has been made already."""

    def __init__(
        self,
        name: str,
        *,
        exists: bool,
        executable: Path,
        workspace: Path,
        home: Path,
        program: Callable[[], None],
        environment: dict[str, str],
    ) -> None:
        super().__init__(
            name,
            _Workspace(
                work_dir=str(workspace),
                pulumi_home=str(home),
                program=program,
                env_vars=environment,
                pulumi_command=_Command(executable),
            ),
            StackInitMode.SELECT if exists else StackInitMode.CREATE,
        )
        self._changes: dict[Any, int] = {}

    def note(self, event: automation.EngineEvent) -> None:
        """Takes the summary of an update, given as its `on_event`."""
        if event.summary_event is not None:
            self._changes = dict(event.summary_event.resource_changes)

    def outputs(self) -> automation.OutputMap:
        """None: they are read with the state."""
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:
        """What the last update has changed, and nothing else of it."""
        return automation.UpdateSummary("", datetime.now(UTC), "", {}, {}, "", resource_changes=self._changes)
