from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http import digests
from service.http.errors import BadRequest

EMPTY = hashlib.sha256(b"")
FIELD = f"sha-256=:{base64.b64encode(EMPTY.digest()).decode()}:"


@given(st.binary())
def test_what_is_written_is_read_again(content: bytes) -> None:
    digest = hashlib.sha256(content)
    assert digests.parse("repr-digest", digests.field(digest.hexdigest())) == digest.digest()


@pytest.mark.parametrize(
    "value", [FIELD, f"sha-512=:AAAA:, {FIELD}", f"{FIELD},md5=:AAAA:", f" {FIELD} ", f"{FIELD};q=1", f"{FIELD} , a=::"]
)
def test_sha256_is_found_among_other_algorithms(value: str) -> None:
    assert digests.parse("content-digest", value) == EMPTY.digest()


def test_other_algorithms_alone_promise_nothing_that_is_checked() -> None:
    assert digests.parse("content-digest", "sha-512=:AAAA:") is None
    assert digests.expected({"content-length": "1"}) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=ab",
        "sha-256=:",
        "sha-256=:AAAA:",
        "sha-256=:%:",
        "sha-256=:A:",
        "sha-256=:=:",
        f"{FIELD},",
        f"{FIELD} x",
        ",",
    ],
)
def test_a_field_that_can_not_be_read_is_refused_by_name(value: str) -> None:
    with pytest.raises(BadRequest, match="Content-Digest"):
        digests.parse("Content-Digest", value)


@given(st.text())
def test_any_other_text_is_refused_or_read_but_never_breaks(value: str) -> None:
    try:
        found = digests.parse("content-digest", value)
    except BadRequest:
        return
    assert found is None or len(found) == 32


def test_two_fields_must_agree() -> None:
    assert digests.expected({"content-digest": FIELD, "repr-digest": FIELD}) == EMPTY.digest()
    other = digests.field(hashlib.sha256(b"x").hexdigest())
    with pytest.raises(BadRequest, match="different"):
        digests.expected({"content-digest": FIELD, "repr-digest": other})
