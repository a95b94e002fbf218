"""What is installed is what is imported, in the same versions for everybody."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST_PARTY = {"components", "settings"}


def pinned(file: str) -> dict[str, str]:
    """The versions of a requirements file, by the packages' normal names."""
    lines = re.findall(r"(?m)^([\w.-]+)(?:\[.*?\])?==([^\s;]+)", (ROOT / file).read_text())
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}


def imported(files: list[Path]) -> set[str]:
    """The top-level modules that the files import and that are neither Python's nor the program's own."""
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names - FIRST_PARTY


def test_the_program_s_requirements_are_what_it_imports() -> None:
    modules = imported([ROOT / "__main__.py", ROOT / "settings.py", *(ROOT / "components").glob("*.py")])
    distributions = importlib.metadata.packages_distributions()
    needed = {distributions[module][0].lower().replace("_", "-") for module in modules}
    assert needed == set(pinned("requirements.in"))


def test_what_only_the_local_stack_and_the_service_need_is_not_installed_for_a_deployment() -> None:
    locked = set(pinned("requirements.txt"))
    assert set(pinned("requirements.in")) <= locked
    assert not locked & {"moto", "flask", "boto3", "uvloop", "pycurl", "obstore", "starlette"}


def test_an_older_python_is_refused_by_what_is_installed_first() -> None:
    # pip installs the lock, and locking leaves out what its own Python does not need.
    (guard,) = re.findall(r"(?m)^python-.*", (ROOT / "requirements.in").read_text())
    assert guard in (ROOT / "requirements.txt").read_text().splitlines()
    assert guard.endswith('; python_version < "3.11"')
    assert "@ file:///" in guard


def test_every_lock_has_the_same_version_of_a_package() -> None:
    versions: dict[str, set[str]] = defaultdict(set)
    for file in [*ROOT.glob("requirements*.txt"), ROOT / "service/requirements.txt"]:
        for name, version in pinned(str(file.relative_to(ROOT))).items():
            versions[name].add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
