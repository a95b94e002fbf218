from __future__ import annotations

from bench import candidates
from bench.__main__ import ROWS
from bench.candidates import environment_of_image


def test_the_service_is_measured_with_the_environment_of_its_image() -> None:
    found = environment_of_image()
    assert found["PYTHONUNBUFFERED"] == "1"
    assert int(found["MALLOC_MMAP_THRESHOLD_"]) > 0
    assert "PATH" not in found


def test_rows_have_names_of_their_own_and_only_known_candidates() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        assert set(row.candidates) <= set(candidates.LABELS)
        for goal in row.goals:
            assert goal.subject in row.candidates
            assert goal.against is None or goal.against in row.candidates
