"""Walks the store in the order of its ids, which is the order in which files were stored.

Each directory is read once, when the walk gets there, and never a file's attributes: on a network file system that is
one round trip for hundreds of names instead of one each.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from service.files import ids


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
    files = _files(names, after)
    digits = after[:8] + after[9:13]
    floor = digits[len(prefix) : len(prefix) + ids.STEP_DIGITS] if digits.startswith(prefix) else ""
    if depth == ids.LEVELS - 1:
        # The first digit of the deepest directories is a time, the second only spreads.
        deeper = _steps(names, ids.STEP_DIGITS, floor[:1])
        below = _spread(path, deeper, after)
    else:
        deeper = _steps(names, ids.STEP_DIGITS, floor)
        below = _walk_each(path, prefix, deeper, after, depth + 1)
    # Both are in order; a directory below is read only when the walk arrives there.
    yield from heapq.merge(files, below)


def _walk_each(path: Path, prefix: str, steps: list[str], after: str, depth: int) -> Iterator[str]:
    for step in steps:
        yield from _walk(path / step, prefix + step, after, depth)


def _spread(path: Path, steps: list[str], after: str) -> Iterator[str]:
    for _, group in groupby(steps, key=lambda step: step[0]):
        together = [name for step in group for name in _names(path / step)]
        yield from _files(together, after)


def _files(names: list[str], after: str) -> Iterator[str]:
    # Only the names that are asked for are looked at closely, which are few among those of a busy moment.
    candidates = sorted(name for name in names if len(name) == ids.LENGTH and name > after)
    return (name for name in candidates if ids.parse(name) == name)


def _names(path: Path) -> list[str]:
    try:
        try:
            return _read(path)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            # What a network file system calls a directory that is pruned after its name was looked up.
            return _read(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []  # pruned since its name was read, or none of ours
        raise


def _read(path: Path) -> list[str]:
    # A link that someone has planted is not followed.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.listdir(descriptor)  # noqa: PTH208  iterdir() makes a Path of each of thousands of names
    finally:
        os.close(descriptor)


def _steps(names: list[str], length: int, floor: str) -> list[str]:
    return sorted(name for name in names if len(name) == length and name >= floor and _is_hex(name))


def _is_hex(name: str) -> bool:
    return all(character in "0123456789abcdef" for character in name)
