"""ARCHITECTURE.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:components|service|local|bench|tests)/[\w./]*|[\w<>]+\.(?:py|yaml|md))`", TEXT)
    assert len(named) > 40
    missing = [path for path in named if "<" not in path and not (ROOT / path).exists()]
    assert missing == []


def test_every_folder_of_the_project_and_every_room_of_the_service_is_in_the_picture() -> None:
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists() and path.name != "tests"}
    rooms = {path.name for path in (ROOT / "service").iterdir() if (path / "__init__.py").exists()}
    assert {"components", "service", "local", "bench"} <= folders
    assert {"server", "http", "files", "ingest", "worker", "aws"} <= rooms
    pictures = "".join(re.findall(r"```\n(.*?)```", TEXT, re.DOTALL))
    assert [name for name in sorted(folders - {"bench"} | rooms) if not re.search(rf"\b{name}\b", pictures)] == []
