"""The provider packages that a program may use: the SDKs installed beside it."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A plugin by the name and the version that its SDK asks the engine for."""

    name: str
    version: str


def installed_packages() -> Iterator[Package]:
    """Every package whose SDK (`pulumi_*`, with its `pulumi-plugin.json`) this interpreter could import."""
    for folder in sys.path:
        for file in sorted(Path(folder or ".").glob("pulumi_*/pulumi-plugin.json")):
            described = json.loads(file.read_text())
            if described.get("resource"):
                yield Package(
                    described.get("name") or file.parent.name.removeprefix("pulumi_"), _version(file, described)
                )


def _version(file: Path, described: dict[str, str]) -> str:
    # Older SDKs say it nowhere but in the package's own metadata.
    return (described.get("version") or importlib.metadata.version(file.parent.name)).removeprefix("v")
