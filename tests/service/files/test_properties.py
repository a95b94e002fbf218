"""Laws of the service's pure functions, each against a model that is too simple to be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.aws.queues import Message
from service.http import digests
from service.http.conditions import ByteRange, check_preconditions, http_date, is_not_modified, select_range
from service.http.errors import BadRequest, Invalid, PreconditionFailed, RangeNotSatisfiable
from service.ingest import payload
from service.worker import keys

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MODIFIED = 1_763_700_000
TAG = '"current"'
LONGEST = 253_402_300_799_999  # the last millisecond of the year 9999

# An entity tag as a client writes it, and whether it names the current version, and whether as a weak one.
TAGS = st.sampled_from([TAG, f"W/{TAG}", '"other"', 'W/"other"', '"a,b"', '""'])
TAG_LISTS = st.one_of(
    st.just("*"),
    st.lists(TAGS, min_size=1, max_size=4).flatmap(
        lambda tags: st.sampled_from([", ", ",", " ,  "]).map(lambda comma: comma.join(tags))
    ),
)
DATES = st.integers(-3, 3).map(lambda seconds: MODIFIED + seconds)


# --- ranges (RFC 9110, section 14) -------------------------------------------------------------------------------------


def bytes_asked_for(first: int | None, last: int | None, size: int) -> list[int] | None:
    """The model: which positions a range names, out of those that there are; None for a range that names none at all."""
    there = range(size)
    if first is None:
        assert last is not None
        return list(there)[-last:] if last else []
    if last is not None and last < first:
        return None  # invalid, section 14.1.2: ignored
    return [position for position in there if first <= position and (last is None or position <= last)]


SMALL = st.one_of(st.none(), st.integers(0, 60))


@given(SMALL, SMALL, st.integers(0, 50))
def test_a_range_is_answered_with_just_the_bytes_that_it_names(first: int | None, last: int | None, size: int) -> None:
    value = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        span = select_range({"range": value}, TAG, MODIFIED, size)
    except RangeNotSatisfiable as refused:
        assert bytes_asked_for(first, last, size) == []
        assert refused.headers["Content-Range"] == f"bytes */{size}"
        return
    if span is None:  # the whole
        assert (first is None and last is None) or bytes_asked_for(first, last, size) in (None, list(range(size)))
        return
    assert list(range(span.start, span.stop)) == bytes_asked_for(first, last, size) != []


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=2, max_size=5))
def test_more_than_one_range_gets_the_whole(ranges: list[tuple[int, int]]) -> None:
    value = "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)
    assert select_range({"range": value}, TAG, MODIFIED, 100) is None


@given(st.one_of(TAGS, DATES.map(http_date)))
def test_a_range_of_another_version_gets_the_whole(if_range: str) -> None:
    found = select_range({"range": "bytes=1-2", "if-range": if_range}, TAG, MODIFIED, 100)
    # Only the very same version, strongly compared, or the very same date: section 13.1.5.
    assert found == (ByteRange(1, 3) if if_range in (TAG, http_date(MODIFIED)) else None)


@given(st.integers(0, 10**25), st.integers(0, 10**25))
def test_numbers_of_any_length_are_taken_as_numbers(first: int, more: int) -> None:
    try:
        span = select_range({"range": f"bytes={first}-{first + more}"}, TAG, MODIFIED, 100)
    except RangeNotSatisfiable:
        assert first >= 100
        return
    # Twenty digits are beyond any file and read as no range.
    assert span is None or (span.start, span.stop) == (first, min(100, first + more + 1))


# --- conditions (RFC 9110, section 13.2.2) -----------------------------------------------------------------------------


def outcome(headers: dict[str, str]) -> int:
    try:
        check_preconditions(headers, TAG, MODIFIED)
    except PreconditionFailed:
        return 412
    return 304 if is_not_modified(headers, TAG, MODIFIED) else 200


def names(value: str, *, weak: bool) -> bool:
    tags = [tag.strip() for tag in value.replace('"a,b"', '"comma"').split(",")]
    return "*" in tags or TAG in tags or (weak and f"W/{TAG}" in tags)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "if-match": TAG_LISTS,
            "if-none-match": TAG_LISTS,
            "if-unmodified-since": DATES,
            "if-modified-since": DATES,
        },
    )
)
def test_conditions_are_evaluated_in_the_order_of_the_rfc(given_: dict[str, str | int]) -> None:
    headers = {name: http_date(value) if isinstance(value, int) else value for name, value in given_.items()}
    expected = 200
    unmodified, modified = given_.get("if-unmodified-since"), given_.get("if-modified-since")
    if "if-match" in headers:  # step 1
        if not names(headers["if-match"], weak=False):
            expected = 412
    elif isinstance(unmodified, int) and unmodified < MODIFIED:  # step 2
        expected = 412
    if expected == 200:
        if "if-none-match" in headers:  # step 3
            expected = 304 if names(headers["if-none-match"], weak=True) else 200
        elif isinstance(modified, int) and modified >= MODIFIED:  # step 4
            expected = 304
    assert outcome(headers) == expected


@given(st.text(max_size=60), st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]))
@example("Fri, 31 Dec 9999 23:59:59 -2359", "if-modified-since")
@example("Mon, 01 Jan 0001 00:00:00 +2359", "if-unmodified-since")
def test_no_condition_breaks_it(value: str, name: str) -> None:
    assert outcome({name: value}) in (200, 304, 412)


@pytest.fixture(params=["UTC", "America/Sao_Paulo", "Pacific/Kiritimati"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_each_of_the_three_forms_of_a_date_is_in_utc_wherever_the_service_runs(zone: None, form: str) -> None:
    for seconds in range(MODIFIED, MODIFIED + 400 * 86_400, 40 * 86_400):
        value = datetime.fromtimestamp(seconds, UTC).strftime(form)
        assert is_not_modified({"if-modified-since": value}, TAG, seconds)
        assert not is_not_modified({"if-modified-since": value}, TAG, seconds + 1)


@given(st.integers(0, 253_402_300_799))
def test_a_date_that_is_written_is_read_again(seconds: int) -> None:
    value = http_date(seconds)
    assert value == format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert is_not_modified({"if-modified-since": value}, TAG, seconds)
    assert not is_not_modified({"if-modified-since": value}, TAG, seconds + 1)


# --- digests (RFC 9530) ------------------------------------------------------------------------------------------------

OTHERS = st.dictionaries(st.sampled_from(["md5", "sha", "sha-512", "unixsum", "crc32c", "*x"]), st.binary(), max_size=4)


@given(st.binary(), OTHERS, st.data(), st.sampled_from([",", ", ", " , "]))
def test_the_sha256_is_found_among_any_others(
    content: bytes, others: dict[str, bytes], data: st.DataObject, comma: str
) -> None:
    digest = hashlib.sha256(content)
    members = [digests.field(digest.hexdigest())]
    for name, other in others.items():
        field = digests.field(other.hex()).replace("sha-256", name)
        members.append(field + data.draw(st.sampled_from(["", ";q=1", "; a=b;c"])))
    value = comma.join(data.draw(st.permutations(members)))
    assert digests.parse("Repr-Digest", value) == digest.digest()


@given(st.binary(), st.binary())
def test_two_sha256_are_one_only_if_they_are_the_same(first: bytes, second: bytes) -> None:
    fields = [digests.field(hashlib.sha256(content).hexdigest()) for content in (first, second)]
    if first == second:
        assert digests.parse("Repr-Digest", ", ".join(fields)) == hashlib.sha256(first).digest()
    else:
        # The last counts in a dictionary (RFC 8941, section 4.2.2), and a promise that is not kept would pass unseen.
        with pytest.raises(BadRequest, match="two different values"):
            digests.parse("Repr-Digest", ", ".join(fields))


@given(st.binary().filter(lambda value: len(value) != 32))
def test_what_is_not_32_bytes_is_no_sha256(value: bytes) -> None:
    with pytest.raises(BadRequest):
        digests.parse("Content-Digest", digests.field(value.hex()))


@given(st.binary(), st.binary())
def test_content_has_one_etag_and_other_content_another(first: bytes, second: bytes) -> None:
    tags = [digests.etag(hashlib.sha256(content).hexdigest()) for content in (first, second)]
    assert (tags[0] == tags[1]) == (first == second)
    check_preconditions({"if-match": tags[0]}, tags[0], MODIFIED)


# --- dates and names of objects ----------------------------------------------------------------------------------------

MESSAGE_ID = "0fe3f4a2-0000-4000-8000-000000000001"


@given(st.integers(0, LONGEST), st.integers(1, 1000), st.text(max_size=5))
@example(86_400_000 - 1, 1, "r")
def test_the_key_is_the_day_of_sending_whatever_else_changes(sent: int, receives: int, receipt: str) -> None:
    message = Message(MESSAGE_ID, receipt, "{}", sent, receives)
    day = EPOCH + timedelta(milliseconds=sent)
    assert keys.object_key("p/", message) == f"p/{day.year}/{day.month:02d}/{day.day:02d}/{MESSAGE_ID}.json"


def read(value: object) -> datetime:
    return payload.flat_data(payload.split(json.dumps({"email_timestream": value}).encode()))[1]


@given(st.integers(100_000_000, 99_999_999_999))
def test_seconds_and_milliseconds_mean_the_same_moment(seconds: int) -> None:
    assert read(seconds) == read(seconds * 1000) == EPOCH + timedelta(seconds=seconds)


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["T", " "]),
)
def test_a_time_with_an_offset_counts_on_its_day_in_utc(local: datetime, minutes: int, separator: str) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = read(moment.isoformat(separator))
    assert found == moment
    utc = local - timedelta(minutes=minutes)
    assert payload.date_path(found) == f"{utc.year:04d}/{utc.month:02d}/{utc.day:02d}"
    assert read(local.isoformat()) == local.replace(tzinfo=UTC)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.one_of(FINITE, st.integers(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
@example(float(LONGEST) + 1)
@example(-62_135_596_801)
def test_anything_else_is_a_moment_or_refused_by_its_name(value: object) -> None:
    try:
        found = read(value)
    except Invalid as refused:
        field, _, detail = refused.detail.partition(": ")
        assert refused.members["errors"] == [{"field": field, "detail": detail}]
        assert field == "email_timestream"
        return
    assert found.tzinfo is UTC


@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.datetimes())
def test_a_key_and_data_make_one_name_that_the_worker_takes(key: str, data: str, moment: datetime) -> None:
    date = payload.date_path(moment)
    name = payload.object_name(key, data, date)
    assert name == payload.object_name(key, data, date)
    assert name != payload.object_name(key, data + "x", date)
    assert name != payload.object_name(key + "x", data, date)
    message = Message(MESSAGE_ID, "r", "{}", 0, 1, name)
    assert keys.object_key("emails/", message) == f"emails/{name}.json"
    assert name.startswith(f"{date}/")
