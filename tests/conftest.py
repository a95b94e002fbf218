"""How the tests are shared out between processes, and what they measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest

# They share a deployment of the local stack (tests/engine/conftest.py).
DEPLOYED = {"test_deployment", "test_failed_rollout", "test_image", "test_permissions", "test_plans_of_changes"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Files as a whole, so that what a file's fixtures make is made once, and those that share more as one."""
    from xdist.scheduler import LoadScopeScheduling

    def scope(nodeid: str) -> str:
        file = PurePath(nodeid.partition("::")[0])
        return str(file.parent) if file.parent.name == "engine" and file.stem in DEPLOYED else str(file)

    scheduling: Any = LoadScopeScheduling(config, log)
    scheduling._split_scope = scope
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first: one that begins last keeps the other process waiting.
    items.sort(key=lambda item: item.path.parent.name != "engine")


FIGURES: list[str] = []


@pytest.fixture(scope="session")
def figures() -> Callable[[str, float], None]:
    """Notes a duration in seconds, printed at the end of the run."""
    return lambda what, seconds: FIGURES.append(f"{what}: {seconds:.1f} s")


def pytest_sessionfinish(session: pytest.Session) -> None:
    # In one of several processes: for the one that prints.
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FIGURES:
        terminalreporter.section("measured on this machine")
        for figure in FIGURES:
            terminalreporter.write_line(figure)
