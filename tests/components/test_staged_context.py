from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components import staged_context
from components.staged_context import ContextChanged, LinkLeadsOut, stage
from local.context_digest import provider_context_digest

FILES = {"Dockerfile": "FROM scratch", "app.py": "1", "sub/part.py": "2", "ignored.md": "", ".dockerignore": "*.md"}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def context() -> Path:
    with umask(0o022):
        return write(Path("service"), FILES)


def provider_digest(project: Path, path: str) -> str:
    return provider_context_digest(project / path, project / path / "Dockerfile", project)


def modes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): stat.filemode(path.lstat().st_mode) for path in folder.rglob("*")}


def folders() -> set[Path]:
    return {path for path in Path(".build").iterdir() if path.is_dir()}


@contextmanager
def before_each_file(call: Callable[[Path], object]) -> Iterator[None]:
    """`call` gets the path in the context of each file that is about to be copied."""
    copyfile = shutil.copyfile

    def called_first(source: Path, target: Path, **options: bool) -> None:
        call(Path(source))
        copyfile(source, target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "copyfile", called_first)
        yield


class Killed(BaseException):
    """What ends a run at once."""


@contextmanager
def killed(where: str) -> Iterator[None]:
    """A run ends at a call of `where`, and cleans nothing up."""

    def kill(*args: Any, **options: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shutil, "rmtree", lambda *args, **options: None)
        patch.setattr(where, kill)
        yield


def make_old(folder: Path) -> None:
    long_ago = folder.stat().st_mtime - staged_context.KEEP_SECONDS - 60
    os.utime(folder, (long_ago, long_ago))


def test_it_holds_what_docker_would_send(context: Path) -> None:
    staged = Path(stage(context).path)
    assert not staged.is_absolute() and staged.parent == Path(".build")
    assert {path.relative_to(staged).as_posix() for path in staged.rglob("*")} == {
        *("Dockerfile", "app.py", "sub", "sub/part.py")
    }
    assert (staged / "app.py").read_text() == "1"


def test_another_umask_owner_s_bits_and_times_are_the_same_build(project: Path, context: Path, tmp_path: Path) -> None:
    first = stage(context)
    before, digest = modes(Path(first.path)), provider_digest(project, first.path)
    (context / "app.py").chmod(0o664)
    os.utime(context / "app.py", (1, 1))
    assert stage(context) == first
    assert (modes(Path(first.path)), provider_digest(project, first.path)) == (before, digest)
    shutil.rmtree(".build")
    with umask(0o002):
        other = write(tmp_path / "other" / "checkout", FILES)
        assert oct((other / "app.py").stat().st_mode).endswith("664")
        assert stage(other) == first
    assert (modes(Path(first.path)), provider_digest(project, first.path)) == (before, digest)
    # Readable by the container's user, whoever that is.
    assert set(before.values()) == {"-rw-r--r--", "drwxr-xr-x"}


def test_what_has_changed_is_another_copy_and_the_other_one_stays(context: Path) -> None:
    first = stage(context)
    (context / "app.py").write_text("3")
    (context / "sub" / "part.py").unlink()
    second = stage(context)
    assert first.path != second.path
    assert (Path(first.path) / "app.py").read_text() == "1"
    assert not (Path(second.path) / "sub").exists()


def test_an_executable_stays_one_and_is_another_build(context: Path) -> None:
    first = stage(context)
    (context / "app.py").chmod(0o700)
    second = stage(context)
    assert first != second
    assert modes(Path(second.path))["app.py"] == "-rwxr-xr-x"


def test_a_copy_has_the_time_of_the_copying_so_that_a_change_is_always_later(context: Path) -> None:
    os.utime(context / "app.py", (1, 1))
    # A file system's clock ticks a few times in a hundredth of a second.
    started = time.time() - 1
    assert Path(stage(context).path, "app.py").stat().st_mtime > started


def test_nothing_is_written_again_while_nothing_changes(context: Path) -> None:
    staged = Path(stage(context).path)
    before = {path: path.stat().st_ino for path in staged.rglob("*")}
    stage(context)
    assert {path: path.stat().st_ino for path in staged.rglob("*")} == before


def test_runs_at_the_same_time_make_one_complete_copy(context: Path) -> None:
    seen = []
    together = threading.Barrier(3)
    runs = [threading.Thread(target=lambda: seen.append(stage(context))) for _ in range(together.parties)]
    # All are copying before one is done.
    with before_each_file(lambda source: together.wait(60)):
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    assert len(seen) == len(runs) and folders() == {Path(staged.path) for staged in seen}
    assert set(modes(Path(seen[0].path))) == {"Dockerfile", "app.py", "sub", "sub/part.py"}
    assert Path(seen[0].path).stat().st_mode & 0o777 == 0o755


def test_what_a_killed_run_left_changes_nothing_and_is_removed_when_it_is_old(context: Path) -> None:
    with killed("shutil.copyfile"):
        stage(context)
    [left] = folders()
    staged = Path(stage(context).path)
    assert folders() == {left, staged} and (staged / "app.py").read_text() == "1"
    make_old(left)
    stage(context)
    assert folders() == {staged}


def test_a_run_that_is_killed_while_it_removes_a_copy_leaves_no_half_under_its_name(context: Path) -> None:
    unused = stage(context)
    (context / "app.py").write_text("2")
    stage(context)
    make_old(Path(unused.path))
    with killed("shutil.rmtree"):
        stage(context)
    assert not Path(unused.path).exists()
    (context / "app.py").write_text("1")
    assert stage(context) == unused
    assert Path(unused.path, "app.py").read_text() == "1"


def test_links_stay_links(project: Path, context: Path) -> None:
    (context / "sub" / "link").symlink_to("../app.py")
    (context / "folder").symlink_to("sub")
    staged = stage(context)
    assert (Path(staged.path) / "sub" / "link").readlink() == Path("../app.py")
    assert (Path(staged.path) / "folder").readlink() == Path("sub")
    assert provider_digest(project, staged.path)


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "nothing", "ignored.md"])
def test_a_link_that_leads_out_of_what_is_sent_is_named(context: Path, target: str) -> None:
    write(Path(), {"outside": ""})
    (context / "link").symlink_to(target)
    with pytest.raises(LinkLeadsOut, match=r"^service/link$"):
        stage(context)


def test_a_project_that_is_its_own_context_does_not_hold_its_copies() -> None:
    write(Path(), {"Dockerfile": "FROM scratch"})
    assert stage(Path()) == stage(Path())


def test_git_does_not_see_the_copies(context: Path) -> None:
    stage(context)
    assert Path(".build/.gitignore").read_text() == "*\n"


def test_copies_that_no_run_uses_any_more_are_removed(context: Path) -> None:
    unused, used = stage(context), []
    for content in ("2", "3"):
        (context / "app.py").write_text(content)
        used.append(stage(context))
    make_old(Path(unused.path))
    make_old(Path(used[1].path))
    assert stage(context) == used[1]
    assert [Path(staged.path).exists() for staged in (unused, *used)] == [False, True, True]


@pytest.mark.parametrize("name", ["app.py", "link"])
def test_what_is_changed_while_it_is_copied_is_no_copy(context: Path, name: str) -> None:
    (context / "link").symlink_to("app.py")

    def change(source: Path) -> None:
        if source.name == name == "link":
            source.unlink()
            source.symlink_to("Dockerfile")
        elif source.name == name:
            source.write_text("written meanwhile")

    with before_each_file(change), pytest.raises(ContextChanged, match=f"^service/{name}$"):
        stage(context)
    assert not folders()


def test_a_folder_that_can_not_be_written_is_an_error(context: Path) -> None:
    Path(".build").write_text("a file")
    with pytest.raises(OSError, match=r"\.build"):
        stage(context)
