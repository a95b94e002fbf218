from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from service.files import directories
from service.files.directories import Directories

STEPS = ("0197", "8a", "3b")


def path_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def nothing(_: int) -> None:
    pass


def test_a_directory_that_is_not_there_is_made_durable_from_the_top(tmp_path: Path) -> None:
    synced: list[str] = []
    found = Directories(tmp_path)
    with pytest.raises(FileNotFoundError):
        found.get(STEPS)
    made = found.make(STEPS, lambda descriptor: synced.append(path_of(descriptor)))
    assert synced == [str(tmp_path), str(tmp_path / "0197"), str(tmp_path / "0197" / "8a")]
    assert found.get(STEPS) is made
    synced.clear()
    assert found.make(STEPS, lambda descriptor: synced.append("again")) is made
    found.make((*STEPS, "2c"), lambda descriptor: synced.append(path_of(descriptor)))
    assert synced == [str(tmp_path.joinpath(*STEPS))]


def test_a_directory_that_others_have_made_is_made_durable_too(tmp_path: Path) -> None:
    tmp_path.joinpath(*STEPS).mkdir(parents=True)
    synced: list[int] = []
    found = Directories(tmp_path)
    found.get(STEPS)
    found.make(STEPS, synced.append)
    assert len(synced) == 3


def test_many_who_make_one_directory_sync_it_once(tmp_path: Path) -> None:
    synced: list[int] = []
    found = Directories(tmp_path)
    threads = [threading.Thread(target=lambda: found.make(STEPS, synced.append)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(synced) == 3


def test_one_that_was_removed_and_forgotten_is_made_again(tmp_path: Path) -> None:
    found = Directories(tmp_path)
    found.make(STEPS, nothing)
    for depth in (3, 2, 1):
        tmp_path.joinpath(*STEPS[:depth]).rmdir()
    found.forget(STEPS)
    found.make(STEPS, nothing)
    assert tmp_path.joinpath(*STEPS).is_dir()


def test_one_above_that_was_removed_is_made_again(tmp_path: Path) -> None:
    found = Directories(tmp_path)
    found.make(STEPS, nothing)
    tmp_path.joinpath(*STEPS).rmdir()
    found.forget(STEPS)
    found.make(STEPS[:2], nothing)
    (tmp_path / "0197" / "8a").rmdir()
    (tmp_path / "0197").rmdir()
    found.forget(STEPS[:2])
    assert os.fstat(found.make(STEPS, nothing).descriptor).st_nlink > 0


def test_what_was_removed_after_it_was_closed_is_made_again(tmp_path: Path) -> None:
    found = Directories(tmp_path)
    found.make(STEPS, nothing)
    found.close()
    for depth in (3, 2, 1):
        tmp_path.joinpath(*STEPS[:depth]).rmdir()
    assert path_of(found.make(STEPS, nothing).descriptor) == str(tmp_path.joinpath(*STEPS))


def test_links_are_not_followed_at_any_step(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "8a" / "3b").mkdir(parents=True)
    root = tmp_path / "root"
    root.mkdir()
    (root / "0197").symlink_to(outside)
    found = Directories(root)
    for _ in range(2):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            found.get(STEPS)
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            found.make(STEPS, nothing)


def test_no_more_are_held_open_than_allowed_and_those_in_use_stay_usable(tmp_path: Path) -> None:
    found = Directories(tmp_path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    first = found.make(("0000",), nothing)
    for number in range(1, directories.MOST_OPEN + 50):
        found.make((f"{number:04x}",), nothing)
    assert len(os.listdir("/proc/self/fd")) <= before + directories.MOST_OPEN + 3  # noqa: PTH208
    assert os.listdir(first.descriptor) == []  # noqa: PTH208
    found.close()
    del first
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208
