"""What /ingest and /submit take: JSON in, the client's own data out, text for text.

The data goes on exactly as it was written. Numbers are never converted and back, so nothing is rounded; the members of
an object keep their order and their spelling.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.http.errors import Invalid, NotJson

# From here on a number can only mean milliseconds: as seconds it lies after the year 5138.
_MILLISECONDS_FROM = 1e11
# The code points that SQS refuses, among those that JSON allows unescaped in a string.
_NOT_FOR_SQS = re.compile("[\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA_OR_END = re.compile(r"[ \t\n\r]*([,}])[ \t\n\r]*")
# Names for objects made of an Idempotency-Key: any fixed value does, but it must never change.
_NAMESPACE = uuid.UUID("5f2c9f0e-6b0c-4b0a-9a3e-0c7a4b7d9e11")
_ALLOWED_TIMES = "an epoch time in seconds or milliseconds, or an ISO 8601 time such as 2025-06-09T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a JSON object by name: each value as it was written, and as what it means.

    A number means the bytes that it was written with: Python would round it, or refuse a very long one.
    """

    written: dict[str, str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# Both are made once: json.loads() and json.dumps() make one for every call with options. Whoever may send a body of
# numbers only decides what it costs to read them, so it is a call that takes no longer than Python's own int(): with a
# class made for numbers, 1 MB of them held the process up for 0.24 s, twenty times as long.
_DECODER = json.JSONDecoder(parse_int=str.encode, parse_float=str.encode, parse_constant=_refuse)
_encode = json.JSONEncoder(ensure_ascii=False).encode


def read_token(members: Members) -> bytes | None:
    """The member ``token`` of a body in UTF-8, if it is there and a string."""
    token = members.values.get("token")
    if not isinstance(token, str):
        return None
    # A lone surrogate is valid JSON; it must fail the comparison and not the encoding.
    return token.encode("utf-8", "surrogatepass")


def split(body: bytes | bytearray) -> Members:
    """The members of a JSON object. Raises NotJson.

    Of members with the same name the last one counts, as everywhere in Python.
    """
    try:
        text = body.decode("utf-8")
        position = _skip(text, 0)
        if text[position : position + 1] != "{":
            json.loads(text)
            raise NotJson('The body is JSON but no object; send one, such as {"token": …}.')
        return _members(text, position + 1)
    except UnicodeDecodeError as error:
        raise NotJson(f"The body is not valid UTF-8: {error}") from None
    except RecursionError:
        raise NotJson("The body is nested too deeply.") from None
    except ValueError as error:
        raise NotJson(f"The body is not valid JSON: {error}") from None


def nested_data(members: Members) -> tuple[str, datetime]:
    """The data of /ingest, which is the member ``data``, an object, and its time. Raises Invalid."""
    if "data" not in members.values:
        raise Invalid("data", "is missing; send an object with an email_timestream")
    data = members.values["data"]
    if not isinstance(data, dict):
        raise Invalid("data", "is no object; send one with an email_timestream")
    return _for_sqs(members.written["data"]), read_time(data, "data.email_timestream")


def flat_data(members: Members) -> tuple[str, datetime]:
    """The data of /submit, which is every member but ``token``, and its time. Raises Invalid."""
    moment = read_time(members.values, "email_timestream")
    rest = [f"{_encode(name)}:{value}" for name, value in members.written.items() if name != "token"]
    data = "{" + ",".join(rest) + "}"
    if data.isascii():
        return data, moment
    # A lone surrogate in a name can't be encoded; as an escape it is what the client wrote.
    return _for_sqs(_SURROGATE.sub(_escape, data)), moment


def read_time(values: dict[str, object], path: str) -> datetime:
    """``email_timestream`` among ``values`` in UTC; ``path`` names it in an error. Raises Invalid.

    A finite number is an epoch time in seconds or, from 1e11 on, in milliseconds; a string is an ISO 8601 time, in UTC
    unless it says otherwise.
    """
    if "email_timestream" not in values:
        raise Invalid(path, f"is missing; allowed: {_ALLOWED_TIMES}")
    value = values["email_timestream"]
    try:
        if isinstance(value, bytes):
            seconds = float(value)
            if not math.isfinite(seconds):
                raise ValueError("not finite")
            return datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS_FROM else seconds, UTC)
        if not isinstance(value, str):
            raise ValueError("neither a number nor a string")
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise Invalid(path, f"is {_shown(value)}; allowed: {_ALLOWED_TIMES}") from None


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


def _shown(value: object) -> str:
    """A value in an error, shortened."""
    if isinstance(value, dict | list):
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        return f"{opening}{'…' if value else ''}{closing}"
    shown = (
        value[:81].decode() if isinstance(value, bytes) else json.dumps(value[:81] if isinstance(value, str) else value)
    )
    return shown if len(shown) <= 80 else shown[:80] + "…"


def _for_sqs(data: str) -> str:
    return data if data.isascii() else _NOT_FOR_SQS.sub(_escape, data)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _members(text: str, position: int) -> Members:
    """The members of the object that begins before ``position``, and nothing after it. Raises ValueError."""
    found = Members()
    written, values, decode = found.written, found.values, _DECODER.raw_decode
    position = _skip(text, position)
    if text[position : position + 1] == "}":
        _end(text, _skip(text, position + 1))
        return found
    while True:
        if text[position : position + 1] != '"':
            raise ValueError(f"a member's name is expected at character {position}")
        name, position = decode(text, position)
        colon = _COLON.match(text, position)
        if colon is None:
            raise ValueError(f"':' is expected at character {position}")
        begin = colon.end()
        values[name], end = decode(text, begin)
        written[name] = text[begin:end]
        mark = _COMMA_OR_END.match(text, end)
        if mark is None:
            raise ValueError(f"',' or '}}' is expected at character {end}")
        position = mark.end()
        if mark[1] == "}":
            _end(text, position)
            return found


def _end(text: str, position: int) -> None:
    if position != len(text):
        raise ValueError(f"nothing is expected after the object, at character {position}")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position
