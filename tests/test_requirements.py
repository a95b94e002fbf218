"""What is installed is what is imported, in the same versions for everybody."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIRST_PARTY = {"components", "settings"}
LOCKS = sorted(
    str(file.relative_to(ROOT)) for folder in (ROOT, ROOT / "service") for file in folder.glob("requirements*.txt")
)


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
    # What tracing needs is installed in the image alone, beside the service's own.
    for file in (file for file in LOCKS if "otel" not in file):
        for name, version in pinned(file).items():
            versions[name].add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("file", LOCKS)
def test_every_package_of_a_lock_is_known_by_the_hashes_of_its_files(file: str) -> None:
    # With one package's hash pip asks for everybody's: https://pip.pypa.io/en/stable/topics/secure-installs/
    text = (ROOT / file).read_text().replace(" \\\n", " ")
    for line in text.splitlines():
        # The guard is installed by nobody.
        if not line.startswith("python-3."):
            assert re.fullmatch(r"[\w.-]+(\[.*?\])?==\S+( ; [^;]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line), line[:80]
    assert "://" not in re.sub(r"(?m)^python-3.*", "", text), "where packages come from is up to whoever installs them"


def test_what_installs_packages_asks_for_their_hashes() -> None:
    for file in ("Makefile", "service/Dockerfile"):
        text = (ROOT / file).read_text().replace("\\\n", " ")
        commands = re.findall(r"pip\b[^\n]* install .*", text)
        assert commands, file
        assert all("--require-hashes" in command for command in commands), file
