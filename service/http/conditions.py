"""Conditional requests and ranges as pure functions of headers (RFC 9110, sections 13 and 14).

Whoever changes something calls ``check_change``, whoever reads calls ``check_preconditions`` and then ``is_not_modified``
and ``select_range``, in the order of section 13.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

from service.http.errors import PreconditionFailed, RangeNotSatisfiable

# A member of a list, behind members that are empty (RFC 9110, sections 5.6.1 and 8.8.3).
_ENTITY_TAG = re.compile(r'[\s,]*(?:(\*)|(W/)?("[\x21\x23-\x7e\x80-\xff]*"))\s*(?=,|$)')
_RANGE = re.compile(r"(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def http_date(seconds: int) -> str:
    """An epoch time in whole seconds as an HTTP date."""
    return formatdate(seconds, usegmt=True)


def check_preconditions(headers: Mapping[str, str], etag: str | None, modified: int | None) -> None:
    """Raises PreconditionFailed if ``If-Match`` or, without it, ``If-Unmodified-Since`` does not hold.

    ``etag`` is the strong entity tag, quotes included, ``modified`` an epoch time in whole seconds; None for what has none.
    """
    if (wanted := headers.get("if-match")) is not None:
        if not _matches(wanted, etag, strong=True):
            current = "this has none" if etag is None else f"which is {etag}"
            raise PreconditionFailed(f"If-Match does not name the current entity tag, {current}")
    elif modified is not None and (since := _date(headers.get("if-unmodified-since"))) is not None and modified > since:
        raise PreconditionFailed(f"the file has been modified on {http_date(modified)}")


def check_change(headers: Mapping[str, str], etag: str | None, modified: int | None) -> None:
    """The same for a method other than GET and HEAD, which ``If-None-Match`` may also forbid."""
    check_preconditions(headers, etag, modified)
    if (wanted := headers.get("if-none-match")) is not None and _matches(wanted, etag, strong=False):
        current = "and this exists" if etag is None else f"which is {etag}"
        raise PreconditionFailed(f"If-None-Match names the current entity tag, {current}")


def is_not_modified(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """Whether a GET or HEAD is answered 304: by ``If-None-Match`` or, without it, by ``If-Modified-Since``."""
    if (wanted := headers.get("if-none-match")) is not None:
        return _matches(wanted, etag, strong=False)
    since = _date(headers.get("if-modified-since"))
    return since is not None and modified <= since


def select_range(headers: Mapping[str, str], etag: str, modified: int, size: int) -> ByteRange | None:
    """The bytes that ``Range`` asks for, or None for the whole content.

    The whole is also the answer to a unit other than bytes, to a field that can't be read, to more than one range
    (section 14.2 leaves a server that choice), and when ``If-Range`` names another version. Raises RangeNotSatisfiable
    for a range that begins after the end.
    """
    value = headers.get("range")
    if value is None or not _if_range_holds(headers.get("if-range"), etag, modified):
        return None
    unit, _, ranges = value.partition("=")
    match = _RANGE.fullmatch(ranges.strip())
    if unit.strip().lower() != "bytes" or match is None:
        return None
    first, last = match.groups()
    if (not first and not last) or len(first) > 19 or len(last) > 19:
        return None
    if not first:
        if int(last) == 0:
            raise _unsatisfiable(value, size)
        # Every suffix of empty content is the empty content, which no Content-Range can express.
        return ByteRange(max(0, size - int(last)), size) if size else None
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise _unsatisfiable(value, size)
    return ByteRange(int(first), min(int(last) + 1, size) if last else size)


def _unsatisfiable(value: str, size: int) -> RangeNotSatisfiable:
    detail = f"Range is {value!r}; allowed: a range that begins within the {size} bytes of the file"
    return RangeNotSatisfiable(detail, headers={"Content-Range": f"bytes */{size}"})


def _if_range_holds(value: str | None, etag: str, modified: int) -> bool:
    if value is None:
        return True
    if value.lstrip().startswith(('"', "W/")):
        return _matches(value, etag, strong=True)
    # A date must be equal, not just later: section 13.1.5.
    return _date(value) == modified


def _matches(wanted: str, etag: str | None, *, strong: bool) -> bool:
    """Whether ``wanted`` names ``etag``; * names whatever exists, also if it has no entity tag."""
    position = 0
    while match := _ENTITY_TAG.match(wanted, position):
        anything, weak, opaque = match.groups()
        if anything or (opaque == etag and not (strong and weak)):
            return True
        position = match.end()
    return False


def _date(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # The oldest of the three forms has no zone; all are in UTC (RFC 9110, section 5.6.7).
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
