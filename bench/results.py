"""``results.json``: every row's raw figures, each with its own date and versions.

A run of some rows replaces those and leaves the others as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.figures import Measured

FORMAT = 1


class ResultsUnreadable(Exception):
    """The file is none of this program's; delete it to begin anew."""


def load(path: Path) -> dict[str, Measured]:
    """Rows by name; none if there is no file. Raises ResultsUnreadable."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ResultsUnreadable(f"{path} has format {content['format']!r}, not {FORMAT}; delete it and run again")
        return {name: Measured.from_json(name, found) for name, found in content["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsUnreadable(f"{path} can't be read: {error!r}; delete it and run again") from error


def merge(before: dict[str, Measured], fresh: Iterable[Measured]) -> dict[str, Measured]:
    """``before`` with every row of ``fresh`` in the place of its older figures."""
    return before | {row.name: row for row in fresh}


def save(path: Path, rows: dict[str, Measured]) -> None:
    content = {"format": FORMAT, "rows": {name: row.as_json() for name, row in sorted(rows.items())}}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)
