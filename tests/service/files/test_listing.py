from __future__ import annotations

import random
import sys
from itertools import islice
from pathlib import Path

import pytest

from service.files import ids, listing

START = 1_763_700_000_000
SPANS = [1, 300, 70_000, 20_000_000, 5_000_000_000]  # milliseconds: within and across the directories of every level


def make(root: Path, milliseconds: int, level: int, number: int) -> str:
    stamp = f"{milliseconds:012x}"
    file_id = f"{stamp[:8]}-{stamp[8:]}-7000-{'89a'[level]}000-{number:012x}"
    path = root.joinpath(*ids.directory(file_id), file_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return file_id


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    chance = random.Random(7)
    made = [
        make(tmp_path, START + chance.randrange(span), chance.randrange(ids.LEVELS), number)
        for number, span in enumerate(SPANS * 60)
    ]
    return sorted(made)


def test_files_of_every_level_come_in_one_order(tmp_path: Path, names: list[str]) -> None:
    assert list(listing.walk(tmp_path)) == names


@pytest.mark.parametrize("size", [1, 7, 299])
def test_pages_together_are_the_whole(tmp_path: Path, names: list[str], size: int) -> None:
    found: list[str] = []
    after = None
    while page := list(islice(listing.walk(tmp_path, after), size)):
        found += page
        after = page[-1]
    assert found == names


def test_a_page_begins_after_a_file_that_is_gone(tmp_path: Path, names: list[str]) -> None:
    for gone in names[100:110]:
        tmp_path.joinpath(*ids.directory(gone), gone).unlink()
    assert list(listing.walk(tmp_path, names[105])) == names[110:]


def test_strangers_are_left_out(tmp_path: Path, names: list[str]) -> None:
    directory = tmp_path.joinpath(*ids.directory(names[0]))
    for stranger in ("notes.txt", ".nfs0001", f"{names[0]}.txt", "zz"):
        (directory / stranger).touch()
    (tmp_path / "incoming" / "1-a").mkdir(parents=True)
    (tmp_path / "incoming" / "1-a" / "1.part").touch()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "0000").touch()
    assert list(listing.walk(tmp_path)) == names


def test_a_page_never_reads_directories_before_its_beginning(tmp_path: Path) -> None:
    names = sorted({make(tmp_path, START + span * number, 2, number) for number in range(3) for span in SPANS[1:]})
    needed = {str(tmp_path.joinpath(*ids.directory(name))) for name in names[-2:]}
    others = {str(tmp_path.joinpath(*ids.directory(name))) for name in names} - needed
    opened: set[str] = set()
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.add(str(arguments[0]))

    sys.addaudithook(watch)  # stays for the rest of the run, and watches no more
    assert list(listing.walk(tmp_path, names[-2])) == names[-1:]
    assert needed & opened
    assert not others & opened
    assert list(listing.walk(tmp_path)) == names
    watching.clear()
    assert others <= opened


def test_a_link_to_a_directory_is_not_followed(tmp_path: Path, names: list[str]) -> None:
    outside = tmp_path / "outside"
    directory = tmp_path.joinpath(*ids.directory(names[0]))
    directory.rename(outside)
    directory.symlink_to(outside)
    hidden = {name for name in names if ids.directory(name) == ids.directory(names[0])}
    assert set(listing.walk(tmp_path)) <= set(names) - hidden


def test_an_empty_or_missing_store_has_no_files(tmp_path: Path) -> None:
    assert list(listing.walk(tmp_path)) == []
    assert list(listing.walk(tmp_path / "absent")) == []


def test_a_store_that_can_not_be_read_is_an_error_and_no_empty_page(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        list(listing.walk(tmp_path / ("x" * 300)))
