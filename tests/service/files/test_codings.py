from __future__ import annotations

import pytest

from service.files import codings
from service.http.errors import BadRequest


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"gzip", "gzip"),
        (b"gzip, br", "gzip, br"),
        (b",gzip\t,,br , ", "gzip, br"),
        (b"X-Custom!#$%&'*+-.^_`|~", "X-Custom!#$%&'*+-.^_`|~"),
        (b"", ""),
        (b" , ", ""),
        (b"Identity", ""),
        (b"identity, gzip", "gzip"),
    ],
)
def test_a_list_of_tokens_is_kept_in_its_order(value: bytes, expected: str) -> None:
    assert codings.parse(value) == expected


@pytest.mark.parametrize("value", [b"gzip br", b"gzip;q=1", b'"gzip"', b"gzip, \xe9", b"g/zip", b"gz\x00ip", b"(gzip)"])
def test_what_is_no_list_of_tokens_is_400_and_named(value: bytes) -> None:
    with pytest.raises(BadRequest, match=r"Content-Encoding has .*; allowed: names of content codings, such as gzip"):
        codings.parse(value)
