"""Walks the store in the order of its ids, which is the order in which files were stored.

Each directory is read once, when the walk gets there, and never a file's attributes: on a network file system that is
one round trip for hundreds of names instead of one each.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from pathlib import Path

from service import ids


def walk(root: Path, after: str | None = None) -> Iterator[str]:
    """Every id in the store that sorts after ``after``, in order. Directories before ``after`` are not read.

    Files stored or removed meanwhile may or may not appear; every other file appears exactly once.
    """
    digits = after[:8] + after[9:13] if after else ""
    for top in _steps(_names(root), ids.TOP_DIGITS, digits[: ids.TOP_DIGITS]):
        path = root / top
        below = digits[ids.TOP_DIGITS :] if digits.startswith(top) else ""
        for step in _steps(_names(path), ids.STEP_DIGITS, below[: ids.STEP_DIGITS]):
            yield from _walk(path / step, top + step, after or "", 1)


def _walk(path: Path, prefix: str, after: str, depth: int) -> Iterator[str]:
    names = _names(path)
    files = sorted(name for name in names if name > after and ids.parse(name) == name)
    digits = after[:8] + after[9:13]
    floor = digits[len(prefix) : len(prefix) + ids.STEP_DIGITS] if digits.startswith(prefix) else ""
    if depth == ids.LEVELS:
        yield from files
        return
    deeper = _steps(names, ids.STEP_DIGITS, floor)
    # Both are in order; a directory below is read only when the walk arrives there.
    yield from heapq.merge(files, _walk_each(path, prefix, deeper, after, depth + 1))


def _walk_each(path: Path, prefix: str, steps: list[str], after: str, depth: int) -> Iterator[str]:
    for step in steps:
        yield from _walk(path / step, prefix + step, after, depth)


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)  # noqa: PTH208  iterdir() makes a Path of each of thousands of names
    except (FileNotFoundError, NotADirectoryError):
        return []  # pruned since its name was read


def _steps(names: list[str], length: int, floor: str) -> list[str]:
    return sorted(name for name in names if len(name) == length and name >= floor and _is_hex(name))


def _is_hex(name: str) -> bool:
    return all(character in "0123456789abcdef" for character in name)
