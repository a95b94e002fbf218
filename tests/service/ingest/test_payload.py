from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.errors import Invalid, NotJson
from service.ingest import payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 2]), st.booleans())
def test_members_are_those_of_the_object_as_they_were_written(
    content: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    members = payload.split(json.dumps(content, indent=indent, ensure_ascii=ascii_only).encode())
    assert {name: json.loads(value) for name, value in members.written.items()} == content
    assert members.values.keys() == content.keys()
    for name, value in content.items():
        if not isinstance(value, dict | list):
            assert members.written[name] == json.dumps(value, ensure_ascii=ascii_only)
        if isinstance(value, str):
            assert members.values[name] == value
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert members.values[name] == json.dumps(value).encode()


@given(st.dictionaries(st.text(), JSON))
def test_the_data_of_submit_is_everything_but_the_token_and_fit_for_sqs(content: dict[str, object]) -> None:
    content = {**content, "email_timestream": 1, "token": "secret"}
    data, moment = payload.flat_data(payload.split(json.dumps(content, ensure_ascii=False).encode()))
    assert json.loads(data) == {name: value for name, value in content.items() if name != "token"}
    assert moment == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert not set(data) & {"\ufffe", "\uffff"}


@pytest.mark.parametrize("number", ["12345678901234567890.123456789", "1e400", "1E-7", "-0.0", "9" * 5000, "1.10"])
def test_numbers_keep_every_digit(number: str) -> None:
    members = payload.split(f'{{"data":{{"email_timestream":1,"n":[{number}]}}}}'.encode())
    assert payload.nested_data(members)[0] == f'{{"email_timestream":1,"n":[{number}]}}'


def test_a_lone_surrogate_passes_as_the_escape_it_was() -> None:
    members = payload.split(b'{"\\ud800": "\\ud800", "token": "\\ud800", "email_timestream": 1}')
    assert payload.flat_data(members)[0] == '{"\\ud800":"\\ud800","email_timestream":1}'
    assert payload.read_token(members) == b"\xed\xa0\x80"


def test_of_two_members_with_one_name_the_last_counts() -> None:
    assert payload.split(b'{"a":1,"a":2}').written == {"a": "2"}
    data, moment = payload.nested_data(payload.split(b'{"data":{"email_timestream":"x","email_timestream":7}}'))
    assert data == '{"email_timestream":"x","email_timestream":7}'
    assert moment.second == 7


@pytest.mark.parametrize("token", ["1", "null", "true", "{}", "[]", "1.5"])
def test_a_token_that_is_no_string_is_none(token: str) -> None:
    assert payload.read_token(payload.split(f'{{"token":{token}}}'.encode())) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{}x",
        b'{"a":1,}',
        b'{"a" 1}',
        b"{1:2}",
        b"{a:1}",
        b'{"a":1 "b":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":tru}',
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        payload.split(body)


@given(st.binary())
def test_no_bytes_break_it(body: bytes) -> None:
    try:
        members = payload.split(body)
    except NotJson:
        return
    assert json.loads(body).keys() == members.written.keys() == members.values.keys()


def data_with_time(written: str) -> payload.Members:
    return payload.split(f'{{"data":{{"email_timestream":{written}}}}}'.encode())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1749465045", datetime(2025, 6, 9, 10, 30, 45, tzinfo=UTC)),
        ("1749465045000", datetime(2025, 6, 9, 10, 30, 45, tzinfo=UTC)),
        ("1749465045.5", datetime(2025, 6, 9, 10, 30, 45, 500_000, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ('"2025-06-09T10:30:45Z"', datetime(2025, 6, 9, 10, 30, 45, tzinfo=UTC)),
        ('"2025-06-09T01:00:00+02:00"', datetime(2025, 6, 8, 23, tzinfo=UTC)),
        ('"2025-06-09T10:30:45"', datetime(2025, 6, 9, 10, 30, 45, tzinfo=UTC)),
        ('"2025-06-09"', datetime(2025, 6, 9, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_epoch_or_iso_8601(written: str, expected: datetime) -> None:
    assert payload.nested_data(data_with_time(written))[1] == expected
    assert payload.flat_data(payload.split(f'{{"email_timestream":{written}}}'.encode()))[1] == expected


@pytest.mark.parametrize(
    "written", ["true", "false", "null", "{}", "[]", '""', '"soon"', '"1749465045"', "1e400", "-1e400", "1e300"]
)
def test_what_is_no_time_is_refused_by_its_field(written: str) -> None:
    with pytest.raises(Invalid) as caught:
        payload.nested_data(data_with_time(written))
    assert caught.value.members["errors"][0]["field"] == "data.email_timestream"  # type: ignore[index]
    assert written in caught.value.detail


@pytest.mark.parametrize("written", ['["x", 1.5]', '{"n": [1, {}]}', '"' + "é" * 100 + '"', "1" * 1000])
def test_what_is_no_time_is_shown_in_short(written: str) -> None:
    with pytest.raises(Invalid) as caught:
        payload.nested_data(data_with_time(written))
    shown = caught.value.detail.partition(": is ")[2].partition("; allowed")[0]
    assert shown[0] == written[0] and "…" in shown
    assert len(shown) <= 81


def test_a_missing_time_is_refused_by_its_field() -> None:
    with pytest.raises(Invalid, match=r"data\.email_timestream: is missing"):
        payload.nested_data(payload.split(b'{"data":{}}'))


@pytest.mark.parametrize("body", [b"{}", b'{"data":[]}', b'{"data":null}', b'{"data":"x"}', b'{"data":1}'])
def test_data_must_be_an_object(body: bytes) -> None:
    with pytest.raises(Invalid, match=r"^data: "):
        payload.nested_data(payload.split(body))


def test_an_object_made_of_a_key_depends_on_key_data_and_date_alone() -> None:
    date = payload.date_path(datetime(2025, 6, 9, tzinfo=UTC))
    first = payload.object_name("key", '{"a":1}', date)
    assert first == payload.object_name("key", '{"a":1}', date)
    assert first.startswith("2025/06/09/")
    others = {payload.object_name("key2", '{"a":1}', date), payload.object_name("key", '{"a":2}', date)}
    assert len({first, *others}) == 3
