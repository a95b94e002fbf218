from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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


def look(folder: Path) -> dict[str, tuple[str, float]]:
    return {
        path.relative_to(folder).as_posix(): (stat.filemode(path.lstat().st_mode), path.lstat().st_mtime)
        for path in folder.rglob("*")
    }


def test_it_holds_what_docker_would_send(context: Path) -> None:
    staged = Path(stage(context).path)
    assert not staged.is_absolute() and staged.parent == Path(".build")
    assert {path.relative_to(staged).as_posix() for path in staged.rglob("*")} == {
        *("Dockerfile", "app.py", "sub", "sub/part.py")
    }
    assert (staged / "app.py").read_text() == "1"


def test_another_umask_owner_s_bits_and_times_are_the_same_build(project: Path, context: Path, tmp_path: Path) -> None:
    first = stage(context)
    before, digest = look(Path(first.path)), provider_digest(project, first.path)
    (context / "app.py").chmod(0o664)
    os.utime(context / "app.py", (1, 1))
    assert stage(context) == first
    assert (look(Path(first.path)), provider_digest(project, first.path)) == (before, digest)
    shutil.rmtree(".build")
    with umask(0o002):
        other = write(tmp_path / "other" / "checkout", FILES)
        assert oct((other / "app.py").stat().st_mode).endswith("664")
        assert stage(other) == first
    assert (look(Path(first.path)), provider_digest(project, first.path)) == (before, digest)
    # Readable by the container's user, whoever that is.
    assert {mode for mode, _ in before.values()} == {"-rw-r--r--", "drwxr-xr-x"}


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
    assert look(Path(second.path))["app.py"][0] == "-rwxr-xr-x"


def test_the_time_of_a_copy_follows_from_its_content(context: Path) -> None:
    (context / "same.py").write_text("1")
    first = look(Path(stage(context).path))
    (context / "app.py").write_text("3")
    second = look(Path(stage(context).path))
    assert first["app.py"][1] == first["same.py"][1] == second["same.py"][1] != second["app.py"][1]


def test_nothing_is_written_again_while_nothing_changes(context: Path) -> None:
    staged = Path(stage(context).path)
    before = {path: path.stat().st_ino for path in staged.rglob("*")}
    stage(context)
    assert {path: path.stat().st_ino for path in staged.rglob("*")} == before


def test_a_copy_that_was_left_half_way_or_meddled_with_is_mended(project: Path, context: Path) -> None:
    (context / "link").symlink_to("app.py")
    staged = stage(context)
    folder, before = Path(staged.path), provider_digest(project, staged.path)
    (folder / "app.py").write_text("other")
    (folder / "Dockerfile").chmod(0o664)
    (folder / "link").unlink()
    (folder / "link").symlink_to("Dockerfile")
    shutil.rmtree(folder / "sub")
    (folder / "sub").write_text("a file in place of a folder")
    write(folder, {".DS_Store": "", "__pycache__/app.pyc": ""})
    assert stage(context) == staged
    assert provider_digest(project, staged.path) == before
    assert (folder / "app.py").read_text() == "1"


def test_runs_at_the_same_time_make_one_copy(project: Path, context: Path) -> None:
    seen = []
    runs = [threading.Thread(target=lambda: seen.append(stage(context))) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(seen) == 4 and len(set(seen)) == 1
    assert len({provider_digest(project, staged.path) for staged in seen}) == 1


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
    long_ago = Path(unused.path).stat().st_mtime - staged_context.KEEP_SECONDS - 60
    os.utime(unused.path, (long_ago, long_ago))
    os.utime(used[1].path, (long_ago, long_ago))
    assert stage(context) == used[1]
    assert [Path(staged.path).exists() for staged in (unused, *used)] == [False, True, True]


def test_a_file_that_is_written_while_it_is_copied_is_no_copy(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copyfile = shutil.copyfile

    def write_first(source: Path, target: Path, **options: bool) -> None:
        Path(source).write_text("written meanwhile")
        copyfile(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", write_first)
    with pytest.raises(ContextChanged, match="service/"):
        stage(context)


def test_a_folder_that_can_not_be_written_is_an_error(context: Path) -> None:
    Path(".build").write_text("a file")
    with pytest.raises(OSError, match=r"\.build"):
        stage(context)
