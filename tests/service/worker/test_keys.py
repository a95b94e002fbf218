from __future__ import annotations

from dataclasses import replace

import pytest

from service.aws.queues import Message
from service.worker import keys
from service.worker.keys import BadMessage

# 2025-06-09T23:59:59.999Z
MESSAGE = Message("0fe3f4a2-0000-4000-8000-000000000001", "r", '{"a":1.10}', 1749513599999, 1)


def test_the_key_is_the_day_of_sending_in_utc_and_the_message_id() -> None:
    key = keys.object_key("emails/", MESSAGE)
    assert key == "emails/2025/06/09/0fe3f4a2-0000-4000-8000-000000000001.json"
    again = replace(MESSAGE, receive_count=3, receipt="other")
    assert keys.object_key("emails/", again) == key
    tomorrow = replace(MESSAGE, sent_at_milliseconds=MESSAGE.sent_at_milliseconds + 1)
    assert keys.object_key("emails/", tomorrow).startswith("emails/2025/06/10/")


def test_a_message_with_a_name_of_its_own_makes_that_object() -> None:
    named = replace(MESSAGE, object_name="2024/01/02/0fe3f4a2-0000-5000-8000-000000000002")
    assert keys.object_key("emails/", named) == "emails/2024/01/02/0fe3f4a2-0000-5000-8000-000000000002.json"


@pytest.mark.parametrize(
    "name", ["", "x", "../../../x", "2024/01/02/x", "2024/01/../0fe3f4a2-0000-5000-8000-000000000002"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadMessage):
        keys.object_key("emails/", replace(MESSAGE, object_name=name))


def test_the_content_is_the_data_as_it_was_written() -> None:
    assert keys.content(MESSAGE) == b'{"a":1.10}'
    assert keys.content(replace(MESSAGE, body='{"é":1}')) == '{"é":1}'.encode()


@pytest.mark.parametrize("body", ["", "{", "[]", "1", "null", '{"a":NaN}', '{"a":-Infinity}', "[" * 100_000])
def test_what_is_no_object_is_refused(body: str) -> None:
    with pytest.raises(BadMessage):
        keys.content(replace(MESSAGE, body=body))
