"""A build context as the Docker provider gets it: a copy that it hashes to the same on every machine.

The provider hashes the name, the content and the whole mode of every file of a context
(https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go, `hashContext`), and an image whose hash has
changed is built and rolled out again. Modes come from whoever's umask made the checkout, so that a developer with 002 and
a pipeline with 022 would roll every service back and forth. The copy has modes that follow from its content.

It lies in the project's folder, since its path is an input, too, and is called by its digest. It appears under that name
in one piece and disappears so: runs may go on at the same time, or be killed. What somebody changes in it stays changed
until the folder is deleted.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from components.build_context import BuildContext

FOLDER = Path(".build")
"""Where the copies lie, relative to the folder of Pulumi.yaml."""

KEEP_SECONDS = 24 * 60 * 60
"""How long a copy stays that no run has used. Longer than any update may take."""

_MODES = {"file": 0o644, "executable": 0o755, "link": 0o777}
_FOLDER_MODE = 0o755


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
    FOLDER.mkdir(exist_ok=True)
    # Whoever uses the components need not know of this folder to keep it out of a repository.
    (FOLDER / ".gitignore").write_text("*\n")
    try:
        os.utime(target)
    except FileNotFoundError:
        _copy(read, target)
    _remove_old()
    return StagedContext(target.as_posix(), read.digest)


def _copy(read: BuildContext, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        copy = Path(temporary, target.name)
        for file in read.files:
            (copy / file.path).parent.mkdir(parents=True, exist_ok=True)
            # The times are those of the copying. Web servers take a page for the one that a browser has when it has the
            # same time and size (nginx's ETag, ngx_http_set_etag; https://github.com/NixOS/nixpkgs/issues/25485), or a
            # time that is not later (Go's net/http, checkIfModifiedSince): neither a fixed time nor one that is made of
            # the content would do. The provider doesn't hash them.
            shutil.copyfile(read.folder / file.path, copy / file.path, follow_symlinks=False)
            if file.kind != "link":
                (copy / file.path).chmod(_MODES[file.kind])
            elif os.chmod in os.supports_follow_symlinks:
                # Linux knows one mode of links; macOS applies the umask.
                (copy / file.path).chmod(_MODES[file.kind], follow_symlinks=False)
        for folder, _, _ in os.walk(copy):
            Path(folder).chmod(_FOLDER_MODE)
        _check(read, copy)
        try:
            copy.rename(target)
        except OSError:
            # Another run was quicker.
            if not target.is_dir():
                raise


def _check(read: BuildContext, copy: Path) -> None:
    changed = sorted(file.path for file in set(read.files) - set(BuildContext.read(copy).files))
    if changed:
        raise ContextChanged(str(read.folder / changed[0]))
    for file in read.files:
        if file.kind == "link" and not _leads_inside(copy / file.path, copy):
            raise LinkLeadsOut(str(read.folder / file.path))


def _leads_inside(link: Path, copy: Path) -> bool:
    resolved = link.resolve()
    return resolved.is_relative_to(copy.resolve()) and resolved.exists()


def _remove_old() -> None:
    oldest = time.time() - KEEP_SECONDS
    for folder in FOLDER.iterdir():
        # Another run may be removing it, too.
        with suppress(FileNotFoundError):
            if folder.is_dir() and folder.stat().st_mtime < oldest:
                # Moved first: a run that is killed here leaves no half of a copy under its name.
                with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
                    folder.rename(Path(temporary, folder.name))
