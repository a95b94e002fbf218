"""Which object a message makes: pure functions of the message, so that making it twice makes the same object."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from service.aws.queues import Message

_OBJECT_NAME = re.compile(r"\d{4}/\d\d/\d\d/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class BadMessage(Exception):
    """A message that no attempt will ever make an object of; the dead-letter queue is where it belongs."""


def object_key(prefix: str, message: Message) -> str:
    """``<prefix>YYYY/MM/DD/<id>.json``. Raises BadMessage.

    The date is that of the message's sending, in UTC, and never of its receipt: a message that is delivered again after
    midnight must not make a second object. A message with a name of its own brings its date along.
    """
    name = message.object_name
    if name is None:
        sent = datetime.fromtimestamp(message.sent_at_milliseconds / 1000, UTC)
        name = f"{sent:%Y/%m/%d}/{message.message_id}"
    elif not _OBJECT_NAME.fullmatch(name):
        raise BadMessage(f"its object is named {name!r}; allowed: YYYY/MM/DD/<uuid>")
    return f"{prefix}{name}.json"


def _refuse(constant: str) -> None:
    # Python reads NaN and the infinities, which JSON has not and other readers of the object refuse.
    raise ValueError(f"{constant} is no JSON")


def content(message: Message) -> bytes:
    """The object's bytes: the data as the client wrote it. Raises BadMessage."""
    try:
        # Only to see that it is valid; numbers stay text because Python refuses to convert very long ones.
        data = json.loads(message.body, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"it is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadMessage("it is JSON but no object")
    return message.body.encode()
