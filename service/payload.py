"""What /ingest and /submit take: JSON in, the client's own data out, text for text.

The data goes on exactly as it was written. Numbers are never converted and back, so nothing is rounded; the members of
an object keep their order and their spelling.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from datetime import UTC, datetime

from service.errors import Invalid, NotJson

# From here on a number can only mean milliseconds: as seconds it lies after the year 5138.
_MILLISECONDS_FROM = 1e11
# The code points that SQS refuses, among those that JSON allows unescaped in a string.
_NOT_FOR_SQS = re.compile("[\ufffe\uffff]")
_BLANK = re.compile(r"[ \t\n\r]*")
# Names for objects made of an Idempotency-Key: any fixed value does, but it must never change.
_NAMESPACE = uuid.UUID("5f2c9f0e-6b0c-4b0a-9a3e-0c7a4b7d9e11")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# Numbers stay text: Python would round them, or refuse a very long one.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse)


def read_token(members: dict[str, str]) -> bytes | None:
    """The member ``token`` of a body in UTF-8, if it is there and a string."""
    written = members.get("token", "")
    # A lone surrogate is valid JSON; it must fail the comparison and not the encoding.
    return str(json.loads(written)).encode("utf-8", "surrogatepass") if written.startswith('"') else None


def split(body: bytes) -> dict[str, str]:
    """The members of a JSON object, each value as it was written. Raises NotJson.

    Of members with the same name the last one counts, as everywhere in Python.
    """
    try:
        return split_text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotJson(f"The body is not valid UTF-8: {error}") from None


def split_text(text: str) -> dict[str, str]:
    """``split`` for text."""
    try:
        position = _skip(text, 0)
        if text[position : position + 1] != "{":
            json.loads(text)
            raise NotJson('The body is JSON but no object; send one, such as {"token": …}.')
        return _members(text, position + 1)
    except RecursionError:
        raise NotJson("The body is nested too deeply.") from None
    except ValueError as error:
        raise NotJson(f"The body is not valid JSON: {error}") from None


def nested_data(members: dict[str, str]) -> str:
    """The data of /ingest: the member ``data``, an object. Raises Invalid."""
    data = members.get("data")
    if data is None:
        raise Invalid("data", "is missing; send an object with an email_timestream")
    if not data.startswith("{"):
        raise Invalid("data", "is no object; send one with an email_timestream")
    return _for_sqs(data)


def flat_data(members: dict[str, str]) -> str:
    """The data of /submit: every member but ``token``."""
    rest = (f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in members.items() if name != "token")
    # A lone surrogate in a name can't be encoded; as an escape it is what the client wrote.
    data = "{" + ",".join(rest) + "}"
    return _for_sqs(re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", data))


def check_timestamp(members: dict[str, str], path: str) -> datetime:
    """``email_timestream`` among ``members`` in UTC; ``path`` names it in an error. Raises Invalid.

    A finite number is an epoch time in seconds or, from 1e11 on, in milliseconds; a string is an ISO 8601 time, in UTC
    unless it says otherwise.
    """
    written = members.get("email_timestream")
    allowed = "an epoch time in seconds or milliseconds, or an ISO 8601 time such as 2025-06-09T12:00:00Z"
    if written is None:
        raise Invalid(path, f"is missing; allowed: {allowed}")
    try:
        if written.startswith('"'):
            moment = datetime.fromisoformat(json.loads(written))
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        # float() takes more than JSON does, but only JSON gets here; true, false and null it refuses.
        seconds = float(written)
        if not math.isfinite(seconds):
            raise ValueError("not finite")
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS_FROM else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        shown = written if len(written) <= 80 else written[:80] + "…"
        raise Invalid(path, f"is {shown}; allowed: {allowed}") from None


def date_path(moment: datetime) -> str:
    """``YYYY/MM/DD`` of a moment in UTC."""
    return f"{moment.year:04d}/{moment.month:02d}/{moment.day:02d}"  # strftime does not pad years before 1000


def object_name(idempotency_key: str, data: str, date: str) -> str:
    """The object that a request with an Idempotency-Key makes: ``YYYY/MM/DD/<uuid>``.

    It depends on the request alone. ``date`` is that of the data itself, since the time of sending differs from one
    attempt to the next and may be another day's.
    """
    name = uuid.uuid5(_NAMESPACE, f"{idempotency_key}\n{data}")
    return f"{date}/{name}"


def _for_sqs(data: str) -> str:
    return _NOT_FOR_SQS.sub(lambda match: f"\\u{ord(match[0]):04x}", data)


def _members(text: str, position: int) -> dict[str, str]:
    found: dict[str, str] = {}
    position = _skip(text, position)
    if text[position : position + 1] == "}":
        _end(text, position + 1)
        return found
    while True:
        name, position = _DECODER.raw_decode(text, position)
        if not isinstance(name, str) or text[position - 1] != '"':
            raise ValueError(f"a member's name is expected before character {position}")
        position = _skip(text, position)
        if text[position : position + 1] != ":":
            raise ValueError(f"':' is expected at character {position}")
        begin = _skip(text, position + 1)
        _, end = _DECODER.raw_decode(text, begin)
        found[name] = text[begin:end]
        position = _skip(text, end)
        mark = text[position : position + 1]
        position = _skip(text, position + 1)
        if mark == "}":
            _end(text, position)
            return found
        if mark != ",":
            raise ValueError(f"',' or '}}' is expected at character {position - 1}")


def _end(text: str, position: int) -> None:
    if _skip(text, position) != len(text):
        raise ValueError(f"nothing is expected after the object, at character {position}")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position
