"""The content hash of a Docker build context: the same files make the same tag on every machine."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def context_digest(context: Path, *settings: str) -> str:
    """SHA-256 (hexadecimal) of the files that Docker would send from `context`, and of the build's other `settings`.

    Counted are each file's path, content and executable bit, which are what a checkout reproduces; times, owners and
    the rest of the mode are not. `.dockerignore` is honoured; byte code (`__pycache__`) never counts.
    """
    ignored = _IgnoreFile(context / ".dockerignore")
    digest = hashlib.sha256()
    for setting in settings:
        _add(digest, setting.encode())
    for path in _files(context, context, ignored):
        mode = path.lstat().st_mode
        content = os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else path.read_bytes()
        kind = "link" if stat.S_ISLNK(mode) else "exec" if mode & stat.S_IXUSR else "file"
        _add(digest, kind.encode())
        _add(digest, path.relative_to(context).as_posix().encode())
        _add(digest, content)
    return digest.hexdigest()


def context_files(context: Path) -> list[Path]:
    """The files that Docker would send from `context`, relative to it, in a stable order."""
    return [path.relative_to(context) for path in _files(context, context, _IgnoreFile(context / ".dockerignore"))]


def _add(digest: hashlib._Hash, part: bytes) -> None:
    # With its length in front, no part can pass for the end of another.
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)


def _files(folder: Path, context: Path, ignored: _IgnoreFile) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if path.name == "__pycache__":
            continue
        if path.is_dir() and not path.is_symlink():
            # Docker descends into an ignored folder, too: an exception (`!`) may bring back something below it.
            yield from _files(path, context, ignored)
        elif not ignored.matches(path.relative_to(context)):
            yield path


class _IgnoreFile:
    """The patterns of a `.dockerignore`: the last one that matches a path, or a folder above it, decides.

    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """

    def __init__(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._rules = [(not pattern.startswith("!"), _expression(pattern.removeprefix("!"))) for pattern in patterns]

    def matches(self, path: Path) -> bool:
        pure = PurePosixPath(path.as_posix())
        # Docker needs the Dockerfile and this file to build, and sends them even when they are ignored.
        if str(pure) in ("Dockerfile", ".dockerignore"):
            return False
        candidates = [str(pure), *(str(parent) for parent in pure.parents if str(parent) != ".")]
        ignored = False
        for excludes, expression in self._rules:
            if any(expression.fullmatch(candidate) for candidate in candidates):
                ignored = excludes
        return ignored


def _expression(pattern: str) -> re.Pattern[str]:
    clean = re.sub(r"/+", "/", pattern.strip()).strip("/")
    clean = clean.removeprefix("./")
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", clean)
    return re.compile("".join(parts.get(token, re.escape(token)) for token in tokens))
