from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.conditions import ByteRange, check_preconditions, http_date, is_not_modified, select_range
from service.http.errors import PreconditionFailed, RangeNotSatisfiable

TAG = '"abc"'
NOW = 1_763_700_000


def span(value: str, size: int = 100, if_range: str | None = None) -> ByteRange | None:
    headers = {"range": value}
    if if_range is not None:
        headers["if-range"] = if_range
    return select_range(headers, TAG, NOW, size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=10-19", ByteRange(10, 20)),
        ("bytes=90-", ByteRange(90, 100)),
        ("bytes=90-1000", ByteRange(90, 100)),
        ("bytes=-10", ByteRange(90, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("Bytes= 5-6 ", ByteRange(5, 7)),
    ],
)
def test_one_range_selects_its_bytes(value: str, expected: ByteRange) -> None:
    assert span(value) == expected


@pytest.mark.parametrize("value", ["bytes", "bytes=", "bytes=-", "rows=1-2", "bytes=5-4", "bytes=a-b", "bytes=0-1,5-6"])
def test_what_is_no_single_range_gets_the_whole(value: str) -> None:
    assert span(value) is None


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_content_is_refused_with_its_size(value: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        span(value)
    assert caught.value.headers["Content-Range"] == "bytes */100"


def test_empty_content_has_no_range_but_a_suffix_is_all_of_it() -> None:
    assert span("bytes=-5", size=0) is None
    with pytest.raises(RangeNotSatisfiable):
        span("bytes=0-", size=0)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 150))
def test_a_span_always_lies_within_the_content(first: int, last: int, size: int) -> None:
    try:
        found = span(f"bytes={first}-{last}", size)
    except RangeNotSatisfiable:
        assert first >= size
        return
    if found is None:
        assert last < first
        return
    assert 0 <= found.start < found.stop <= size
    assert range(found.start, found.stop) == range(size)[first : last + 1]


@given(st.text())
def test_no_text_breaks_it(value: str) -> None:
    try:
        found = span(value)
    except RangeNotSatisfiable:
        return
    assert found is None or found.length > 0


def test_if_range_holds_for_the_same_tag_or_the_very_same_date() -> None:
    assert span("bytes=0-1", if_range=TAG) == ByteRange(0, 2)
    assert span("bytes=0-1", if_range=http_date(NOW)) == ByteRange(0, 2)
    assert span("bytes=0-1", if_range=f"W/{TAG}") is None
    assert span("bytes=0-1", if_range=http_date(NOW + 1)) is None
    assert span("bytes=0-1", if_range="nonsense") is None


@pytest.mark.parametrize("value", [TAG, "*", f'"x", {TAG}', f'W/"x",{TAG}'])
def test_if_match_holds_for_this_version(value: str) -> None:
    check_preconditions({"if-match": value}, TAG, NOW)


@pytest.mark.parametrize("value", ['"x"', f"W/{TAG}", "", "abc"])
def test_if_match_fails_for_another_or_weak_version(value: str) -> None:
    with pytest.raises(PreconditionFailed):
        check_preconditions({"if-match": value}, TAG, NOW)


def test_if_unmodified_since_counts_only_without_if_match() -> None:
    with pytest.raises(PreconditionFailed):
        check_preconditions({"if-unmodified-since": http_date(NOW - 1)}, TAG, NOW)
    check_preconditions({"if-unmodified-since": http_date(NOW)}, TAG, NOW)
    check_preconditions({"if-unmodified-since": "nonsense"}, TAG, NOW)
    check_preconditions({"if-unmodified-since": http_date(NOW - 1), "if-match": TAG}, TAG, NOW)


def test_if_none_match_compares_weakly_and_beats_the_date() -> None:
    for value in (TAG, f"W/{TAG}", "*", f'"x", {TAG}'):
        assert is_not_modified({"if-none-match": value}, TAG, NOW)
    assert not is_not_modified({"if-none-match": '"x"', "if-modified-since": http_date(NOW)}, TAG, NOW)
    assert is_not_modified({"if-modified-since": http_date(NOW)}, TAG, NOW)
    assert not is_not_modified({"if-modified-since": http_date(NOW - 1)}, TAG, NOW)
    assert not is_not_modified({}, TAG, NOW)
