"""A build context as the Docker provider gets it: a copy that looks the same on every machine.

The provider hashes the name, the content and the whole mode of every file of a context
(https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go, `hashContext`), and an image whose hash has
changed is built and rolled out again. Modes come from whoever's umask made the checkout, so that a developer with 002 and
a pipeline with 022 would roll every service back and forth. The copy has modes and times that follow from its content.

It lies in the project's folder, since its path is an input, too, and is called by its digest: a run never changes what
another one is just building from, and what a run that was killed has left behind is completed by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.build_context import BuildContext, ContextFile, sha256_of_link

FOLDER = Path(".build")
"""Where the copies lie, relative to the folder of Pulumi.yaml."""

KEEP_SECONDS = 24 * 60 * 60
"""How long a copy stays that no run has used. Longer than any update may take."""

_MODES = {"file": 0o644, "executable": 0o755}
_FOLDER_MODE = 0o755
# The first time that a ZIP archive can hold, and how many seconds follow it until 1997.
_FIRST_TIME, _TIMES = 315_532_800, 2**29


class ContextChanged(Exception):
    """A file of the context was written to while it was copied."""


class LinkLeadsOut(Exception):
    """A symbolic link of the context leads to nothing that is in the context."""


@dataclass(frozen=True, slots=True)
class StagedContext:
    path: str
    """Relative to the folder of Pulumi.yaml, with forward slashes."""
    digest: str
    """What the copied files consist of, see `BuildContext.digest`."""


def stage(context: Path) -> StagedContext:
    """Copies what Docker would send from `context`, unless the copy is there already.

    Raises OSError when the context can't be read or the copy not be written, `ContextChanged`, and `LinkLeadsOut`: such a
    link leads elsewhere in the image, and the provider hashes where it leads to on this machine or stops at it.
    """
    read = BuildContext.read(context, without=FOLDER)
    target = FOLDER / read.digest[:32]
    with _locked():
        target.mkdir(exist_ok=True)
        os.utime(target)
        _clear(target, read)
        for folder in _folders(read):
            (target / folder).mkdir(exist_ok=True)
        for file in read.files:
            if not _is_copied(file, target / file.path):
                _copy(context, file, target / file.path)
        for folder in _folders(read):
            _settle_folder(target / folder)
        target.chmod(_FOLDER_MODE)
        _remove_old()
    for file in read.files:
        if file.kind == "link" and not _leads_inside(target / file.path, target):
            raise LinkLeadsOut(str(context / file.path))
    return StagedContext(target.as_posix(), read.digest)


@contextmanager
def _locked() -> Iterator[None]:
    FOLDER.mkdir(exist_ok=True)
    # Whoever uses the components need not know of this folder to keep it out of a repository.
    ignore = FOLDER / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folders(read: BuildContext) -> list[Path]:
    """Every folder that a file is in, parents first."""
    return sorted({folder for file in read.files for folder in file.path.parents} - {Path()})


def _clear(target: Path, read: BuildContext) -> None:
    """Removes what others have put there: the system's file browser, a tool that compiles."""
    files, folders = {file.path for file in read.files}, set(_folders(read))
    for path in sorted(target.rglob("*"), reverse=True):
        relative, is_folder = path.relative_to(target), path.is_dir() and not path.is_symlink()
        if relative not in (folders if is_folder else files):
            path.rmdir() if is_folder else path.unlink()


def _is_copied(file: ContextFile, copy: Path) -> bool:
    try:
        status = copy.lstat()
    except FileNotFoundError:
        return False
    if file.kind == "link":
        return stat.S_ISLNK(status.st_mode) and sha256_of_link(copy) == file.sha256
    # Written to since, it would have another time.
    return stat.S_IMODE(status.st_mode) == _MODES[file.kind] and int(status.st_mtime) == _time(file)


def _copy(context: Path, file: ContextFile, copy: Path) -> None:
    # Put in place in one piece: another run may be building from the folder.
    partial = FOLDER / ".partial"
    partial.unlink(missing_ok=True)
    shutil.copyfile(context / file.path, partial, follow_symlinks=False)
    if file.kind == "link":
        # Linux knows one mode of links; macOS applies the umask.
        if os.chmod in os.supports_follow_symlinks:
            partial.chmod(0o777, follow_symlinks=False)
    else:
        with partial.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                raise ContextChanged(str(context / file.path))
        partial.chmod(_MODES[file.kind])
        os.utime(partial, (_time(file), _time(file)))
    partial.replace(copy)


def _settle_folder(folder: Path) -> None:
    folder.chmod(_FOLDER_MODE)
    os.utime(folder, (_FIRST_TIME, _FIRST_TIME))


def _time(file: ContextFile) -> int:
    """The time of a copy, in seconds: the same for the same content and, most likely, another for another.

    One time for all files would do for the build; but web servers make an ETag of a file's time and size, and would tell
    a browser that a page which was changed in place is the one that it has.
    """
    return _FIRST_TIME + int(file.sha256[:8], 16) % _TIMES


def _leads_inside(link: Path, target: Path) -> bool:
    resolved = link.resolve()
    return resolved.is_relative_to(target.resolve()) and resolved.exists()


def _remove_old() -> None:
    oldest = time.time() - KEEP_SECONDS
    for folder in FOLDER.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder)
