from __future__ import annotations

import threading
import time

from service.worker.capacity import Capacity
from tests.service.harness import LIVENESS_SECONDS, wait_until


def take(room: Capacity, most: int = 10, *, first_seconds: float = 0.01, rest_seconds: float = 0.01) -> int:
    return room.take(most, first_seconds=first_seconds, rest_seconds=rest_seconds)


def test_no_more_is_taken_than_there_is() -> None:
    room = Capacity(12, 1_000_000)
    assert [take(room), take(room), take(room)] == [10, 2, 0]
    room.give(3)
    assert take(room) == 3


def test_large_messages_take_more_room_until_they_have_passed() -> None:
    room = Capacity(100, 1_000_000)
    room.note_size(200_000)
    assert [take(room), take(room)] == [5, 0]
    room.give(5)
    for _ in range(200):
        room.note_size(1000)
    assert sum(take(room) for _ in range(11)) == 100


def test_one_message_always_fits_however_large() -> None:
    room = Capacity(10, 1000)
    room.note_size(10_000_000)
    assert [take(room), take(room)] == [1, 0]


def test_it_waits_for_a_full_call_but_not_for_long() -> None:
    room = Capacity(10, 1000)
    assert take(room) == 10
    taken: list[int] = []
    thread = threading.Thread(
        target=lambda: taken.append(take(room, first_seconds=LIVENESS_SECONDS, rest_seconds=LIVENESS_SECONDS))
    )
    thread.start()
    for _ in range(10):
        assert taken == []
        room.give()
        time.sleep(0.002)
    thread.join(LIVENESS_SECONDS)
    assert taken == [10], "what came free one by one was taken together"
    room.give(1)
    assert take(room, rest_seconds=0.05) == 1, "what there is, when the rest does not come"


def test_several_who_wait_do_not_share_what_little_comes_free() -> None:
    room = Capacity(20, 1000)
    assert take(room) + take(room) == 20
    taken: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: taken.append(take(room, first_seconds=LIVENESS_SECONDS, rest_seconds=LIVENESS_SECONDS))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for _ in range(20):
        room.give()
    wait_until(lambda: len(taken) == 2)
    assert taken == [10, 10]


def test_who_can_not_even_begin_to_wait_in_time_gets_nothing() -> None:
    room = Capacity(1, 1000)
    assert take(room) == 1
    first = threading.Thread(target=lambda: take(room, first_seconds=0.5))
    first.start()
    time.sleep(0.05)
    assert take(room, first_seconds=0.01) == 0
    room.give()
    first.join(LIVENESS_SECONDS)
