"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from components import configuration_schema
from settings import Settings
from tests.test_settings import errors

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def key_table() -> str:
    """The README's table of configuration keys, as the settings have it."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, key in configuration_schema(Settings).items():
        default = str(key["default"]).lower() if isinstance(key["default"], bool) else str(key["default"])
        meaning = key["description"].partition(" Allowed: ")[0]
        rows.append(f"| `{name}` | {f'`{default}`' if default else 'empty'} | {meaning} |")
    return "\n".join(rows)


def test_the_table_of_keys_is_the_settings() -> None:
    found = re.search(r"<!-- keys -->\n(.*)\n<!-- /keys -->", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == key_table()


def test_the_sample_of_mistakes_is_what_is_printed() -> None:
    sample = re.search(r"```\n(The configuration of stack 'staging' has .*?)\n```", README, re.DOTALL)
    assert sample is not None
    config = {
        "apiCpus": "512",
        "sweepSchedule": "every hour",
        "workerMemory": "4096",
        "apiMinTasks": "5",
    }
    assert str(errors(config, stack="staging")) == sample[1]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    named = set(re.findall(r"make ([a-z]+)", README))
    assert {"up", "deploy", "preview", "test", "check", "clean"} <= named <= targets


def test_every_path_that_is_linked_exists() -> None:
    for path in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"`((?:components|service|local)/[\w./]+)`", README
    ):
        assert (ROOT / path).exists(), path
