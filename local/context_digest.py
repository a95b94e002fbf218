"""The `contextDigest` of the Docker provider: what decides there whether an image is built again.

As in https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go (`hashContext`): the Dockerfile, then every
file of the context by its name, its whole mode in Go's spelling, and its content; of a link the path that it leads to on
this machine. Folders, times, arguments, target and platform are not in it; the last three are inputs of their own.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from components.build_context import DOCKERFILE
from components.ignore_file import IgnoreFile

# The bits that Go writes in front of the permissions, in its order.
_SPECIAL = {stat.S_ISUID: "u", stat.S_ISGID: "g", stat.S_ISVTX: "t"}


def provider_context_digest(context: Path, dockerfile: Path, root: Path) -> str:
    """SHA-256 (hexadecimal). `root` is the project's folder, which the provider runs in.

    Raises OSError, also for a link that leads to nothing, as the provider does.
    """
    digest = hashlib.sha256(_entry(DOCKERFILE, "-" * 10, dockerfile.read_bytes()))
    for path in _walk(context, context, IgnoreFile.of(context)):
        mode, content = path.lstat().st_mode, b""
        if stat.S_ISLNK(mode):
            content = os.fsencode(os.path.relpath(path.resolve(strict=True), root.resolve()))
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        digest.update(_entry(path.relative_to(context).as_posix(), go_mode(mode), content))
    return digest.hexdigest()


def _walk(folder: Path, context: Path, ignored: IgnoreFile) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, context, ignored)
        elif not ignored.ignores(path.relative_to(context)):
            yield path


def _entry(name: str, mode: str, content: bytes) -> bytes:
    return os.fsencode(name) + mode.encode() + hashlib.sha256(content).digest() + b"\0"


def go_mode(mode: int) -> str:
    """The mode of a file or a link as Go's `fs.FileMode.String` spells it: `-rw-r--r--`, `Lrwxrwxrwx`, `ugrwxr-xr-x`."""
    special = "L" if stat.S_ISLNK(mode) else ""
    special += "".join(letter for bit, letter in _SPECIAL.items() if mode & bit)
    return (special or "-") + stat.filemode(mode & 0o777)[1:]
