"""The service's rooms: which may import which. Drawn from the code, so that it can't grow otherwise unseen."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SERVICE = Path(__file__).resolve().parents[2] / "service"

ALLOWED: dict[str, set[str]] = {
    "settings": set(),
    "thread_pool": set(),
    "server": set(),
    "telemetry": {"settings"},
    "aws": set(),
    "http": {"settings", "telemetry", "thread_pool"},
    "files": {"http", "settings", "telemetry", "thread_pool"},
    "ingest": {"aws", "http", "telemetry", "thread_pool"},
    "worker": {"aws", "settings", "telemetry"},
    "api": {"aws", "files", "http", "ingest", "server", "settings", "telemetry", "thread_pool"},
    "__main__": {"api", "files", "http", "settings", "telemetry", "worker"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SERVICE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SERVICE.rglob("*.py")}


def imports(path: Path) -> set[str]:
    """The modules of the service that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # `from service.http import errors` is the module, `from service.http.errors import Problem` a name of it.
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        found |= {name.removeprefix("service.") for name in names if name.startswith("service.")} & set(MODULES)
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


ARROWS = {(room(module), room(other)) for module, path in MODULES.items() for other in imports(path)}


@pytest.mark.parametrize("name", sorted({room(module) for module in MODULES if module}))
def test_a_room_imports_only_what_is_below_it(name: str) -> None:
    assert {other for one, other in ARROWS if one == name} - {name} <= ALLOWED[name]


def test_every_arrow_that_is_allowed_is_drawn() -> None:
    assert {(one, other) for one, others in ALLOWED.items() for other in others} - ARROWS == set()


def test_no_module_imports_itself_in_the_end() -> None:
    assert len(MODULES) > 40
    graph = {module: imports(path) - {module, room(module)} for module, path in MODULES.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")
    assert set(order) >= set(MODULES) - {""}


def test_the_rooms_stay_small() -> None:
    longest = max(MODULES.values(), key=lambda path: len(path.read_text().splitlines()))
    assert len(longest.read_text().splitlines()) < 400, longest
    assert len([path for path in SERVICE.iterdir() if path.is_file()]) <= 10
