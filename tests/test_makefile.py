"""What `make` says before it does anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Nothing is installed for it, whatever is out of date.
    installed = ["--old-file=.venv/.ready-dev", "PYTHON=python3"]
    # Not as a part of the make that runs the tests.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", *installed, *arguments], cwd=ROOT, capture_output=True, text=True, env=env)


def test_a_folder_that_is_none_is_told_with_those_that_there_are() -> None:
    done = make("test", "ONLY=components nonesuch")
    assert done.returncode != 0
    folders = sorted(folder.name for folder in (ROOT / "tests").iterdir() if folder.is_dir() and folder.name[0] != "_")
    assert done.stdout == f"ONLY=nonesuch: there is no folder tests/nonesuch; there are {' '.join(folders)}\n"


def test_another_python_gets_a_virtual_environment_of_its_own(tmp_path: Path) -> None:
    python, folder = tmp_path / "another-python", ".venv-3.987/"
    python.write_text("#!/bin/sh\necho 3.987\n")
    python.chmod(0o755)
    planned = make("--dry-run", "preview", "STACK=prod", f"PYTHON={python}").stdout
    assert f"{python} -m venv {folder.rstrip('/')}" in planned
    assert f"exec {folder}bin/python -m local preview prod" in planned
    assert "exec .venv/bin/python" in make("--dry-run", "preview", "STACK=prod").stdout


def test_soaks_are_apart_from_the_ordinary_tests() -> None:
    assert "pytest -m soak" in make("--dry-run", "soak", "NEWEST=").stdout
    assert "-m soak" not in make("--dry-run", "test").stdout
