from __future__ import annotations

from pathlib import Path

import pytest

from bench import results
from bench.figures import Measured
from bench.results import ResultsUnreadable


def _measured(name: str, rate: float, date: str = "2026-01-01") -> Measured:
    return Measured(
        name, date, 2, {"Go": "1.26"}, {"service": [{"rate": rate}, None]}, {"service": "repetition 2: slow"}
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    rows = {"a": _measured("a", 1.5), "b": _measured("b", 2.5)}
    results.save(tmp_path / "results.json", rows)
    assert results.load(tmp_path / "results.json") == rows


def test_a_partial_run_replaces_its_own_rows_and_leaves_the_others_with_their_dates(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.save(path, {"a": _measured("a", 1), "b": _measured("b", 1)})
    results.save(path, results.merge(results.load(path), [_measured("b", 9, "2026-02-02"), _measured("c", 3)]))
    merged = results.load(path)
    assert {name: row.date for name, row in merged.items()} == {"a": "2026-01-01", "b": "2026-02-02", "c": "2026-01-01"}
    assert merged["b"].series["service"][0] == {"rate": 9}


def test_no_file_is_no_results(tmp_path: Path) -> None:
    assert results.load(tmp_path / "results.json") == {}


@pytest.mark.parametrize("content", ["", "[]", '{"format": 0, "rows": {}}', '{"format": 1, "rows": {"a": {}}}'])
def test_another_file_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ResultsUnreadable, match="delete it and run again"):
        results.load(path)
