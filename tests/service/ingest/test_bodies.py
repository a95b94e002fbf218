from __future__ import annotations

import pytest

from service.http.errors import TooLarge, Unavailable
from service.ingest.bodies import SMALL_BYTES, Bodies


def test_bodies_count_from_their_first_byte_to_their_end() -> None:
    bodies = Bodies(100_000, 200_000)
    with bodies.begin() as one:
        one.add(b"0123")
        one.add(b"45")
        assert bytes(one.text) == b"012345"
        with bodies.begin() as two:
            two.add(b"x" * 70_000)
            assert bodies.held == 70_006
        assert bodies.held == 6
    assert bodies.held == 0


def test_a_body_is_too_large_by_itself_or_with_all_others() -> None:
    bodies = Bodies(100_000, 4 * SMALL_BYTES)
    with bodies.begin() as one, bodies.begin() as two, bodies.begin() as three:
        with pytest.raises(TooLarge, match="100000 bytes"):
            one.add(b"x" * 100_001)
        one.add(b"x" * 100_000)
        two.add(b"x" * (3 * SMALL_BYTES - 100_000))
        with pytest.raises(Unavailable) as raised:
            two.add(b"x")
        assert int(raised.value.headers["Retry-After"]) > 0
        three.add(b"x" * SMALL_BYTES)  # a quarter is for small ones
        with bodies.begin() as four, pytest.raises(Unavailable):
            four.add(b"x")
    assert bodies.held == 0


def test_nothing_is_left_of_a_body_whoever_still_has_it() -> None:
    bodies = Bodies(100_000)
    with bodies.begin() as body:
        body.add(b"x" * 1000)
    assert body.text == b""
