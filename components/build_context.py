"""A Docker build context: the files that Docker would send, and one digest that is the same on every machine."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from components.ignore_file import NAMES, IgnoreFile

DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class ContextFile:
    """One file of a context: its `path` relative to the context, and all of it that a checkout reproduces."""

    path: Path
    kind: Literal["file", "executable", "link"]
    sha256: str
    """Of the content (hexadecimal), for a link of where it leads to."""


@dataclass(frozen=True)
class BuildContext:
    """The files that Docker would send from `folder`, see `context_paths`."""

    folder: Path
    files: tuple[ContextFile, ...]

    @classmethod
    def read(cls, folder: Path, *, without: Path | None = None) -> BuildContext:
        """Reads every file once. `without` is a folder that is left out, wherever it lies. Raises OSError."""
        return cls(folder, tuple(_read(folder, path) for path in context_paths(folder, without=without)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the files' paths, contents and executable bits.

        Times, owners and the rest of the mode don't count: they differ with the umask, the user and the checkout.
        """
        return digest_of(*(part for file in self.files for part in (file.kind, file.path.as_posix(), file.sha256)))


def context_paths(folder: Path, *, without: Path | None = None) -> Iterator[Path]:
    """The regular files and symbolic links that Docker would send from `folder`, in a stable order.

    The Dockerfile is always one of them: Docker needs it to build. The ignore file never is: it has done its work by then,
    and a comment in it must not make another image. Left out are also byte code (`__pycache__`), empty folders, sockets
    and the like, which no checkout brings.
    """
    skipped = without.resolve() if without is not None else None
    return _walk(folder, folder, IgnoreFile.of(folder), skipped)


def digest_of(*parts: str) -> str:
    """SHA-256 (hexadecimal) of a list of texts; another list has another digest."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode(errors="surrogateescape")
        # With its length in front, no part can pass for the end of another.
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def _read(folder: Path, path: Path) -> ContextFile:
    relative, mode = path.relative_to(folder), path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return ContextFile(relative, "link", hashlib.sha256(os.fsencode(path.readlink())).hexdigest())
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    # The one bit of a mode that git keeps.
    return ContextFile(relative, "executable" if mode & stat.S_IXUSR else "file", sha256)


def _walk(folder: Path, context: Path, ignored: IgnoreFile, skipped: Path | None) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        mode, relative = path.lstat().st_mode, path.relative_to(context)
        if stat.S_ISDIR(mode):
            is_skipped = path.name == "__pycache__" or (skipped is not None and path.resolve() == skipped)
            if not is_skipped and not ignored.ignores_all_in(relative):
                yield from _walk(path, context, ignored, skipped)
        elif not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)) or str(relative) in NAMES:
            continue
        elif str(relative) == DOCKERFILE or not ignored.ignores(relative):
            yield path
