from __future__ import annotations

import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.files import ids

START = 1_763_700_000_000_000_000
MILLISECOND = 1_000_000


class Clock:
    def __init__(self, step: int) -> None:
        self.now, self.step = START, step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


@pytest.mark.parametrize("step", [-MILLISECOND, 0, 1, MILLISECOND, 60_000 * MILLISECOND])
def test_ids_only_grow_whatever_the_clock_does(step: int) -> None:
    source = ids.IdSource(Clock(step))
    made = [source.next() for _ in range(2000)]
    assert made == sorted(set(made))


def test_an_id_is_a_uuid_of_version_7_that_says_when_it_was_made() -> None:
    made = ids.IdSource(lambda: START).next()
    parsed = uuid.UUID(made)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == START // MILLISECOND
    assert ids.created(made) == START // 1_000_000_000
    assert ids.parse(made) == ids.parse(f"{made}.txt") == ids.parse(made.upper()) == made


@pytest.mark.parametrize("seconds", [9, pytest.param(90, marks=pytest.mark.soak)])
def test_no_directory_holds_more_than_its_room_of_a_flood(seconds: int) -> None:
    source = ids.IdSource(Clock(MILLISECOND // 2))
    held = Counter(ids.directory(source.next()) for _ in range(2000 * seconds))
    times = {directory: count for directory, count in held.items() if len(directory) < 4}
    assert max(times.values()) <= ids.ROOM
    assert max(held.values()) <= 2 * ids.ROOM
    assert {len(directory) for directory in held} == {2, 3, 4}


def test_a_quiet_store_needs_few_directories() -> None:
    source = ids.IdSource(Clock(60_000 * MILLISECOND))  # one a minute, for a week
    held = {ids.directory(source.next()) for _ in range(7 * 24 * 60)}
    assert len(held) < 40


def test_ids_of_several_threads_differ() -> None:
    source = ids.IdSource()
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(source.next() for _ in range(500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4000


@given(st.text())
def test_no_other_text_is_a_name(text: str) -> None:
    assert ids.parse(text) is None


@given(st.uuids())
def test_only_ids_of_this_store_are_names_and_their_directory_is_hexadecimal(made: uuid.UUID) -> None:
    found = ids.parse(str(made))
    if made.version != 7 or str(made)[19] == "b":
        assert found is None
    else:
        assert found == str(made)
        steps = ids.directory(found)
        assert all(character in "0123456789abcdef" for step in steps for character in step)
        assert found.replace("-", "").startswith("".join(steps)[: ids.TIME_DIGITS])


def test_a_flood_is_spread_over_directories_at_every_moment() -> None:
    source = ids.IdSource(Clock(MILLISECOND // 2))
    made = [source.next() for _ in range(10_000)]
    assert len({ids.directory(name) for name in made[-100:]}) == 16


def test_threads_never_get_the_same_moment() -> None:
    source = ids.IdSource()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: source.next(), range(20_000)))
    assert len({(file_id[:13], file_id[15:18]) for file_id in found}) == len(found)
