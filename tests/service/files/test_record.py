from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.files import record
from service.files.record import DamagedFile, Record

SHA256 = "0" * 64


@given(
    st.integers(0, 2**60),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_what_is_kept_is_read_again(size: int, content_type: str, content_encoding: str) -> None:
    kept = Record(size=size, sha256=SHA256, content_type=content_type, content_encoding=content_encoding)
    encoded = record.encode(kept)
    assert len(encoded) == record.SIZE
    assert record.decode(encoded, size + record.SIZE) == kept


def test_a_type_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="600 characters"):
        record.encode(Record(size=1, sha256=SHA256, content_type="x" * 600))


def test_a_type_and_an_encoding_that_leave_no_room_together_are_refused() -> None:
    with pytest.raises(ValueError, match="250 characters and an encoding of 150"):
        record.check("x" * 250, "y" * 150)
    record.check("x" * 250, "")
    record.check("", "y" * 150)


def test_a_record_of_before_there_were_encodings_is_read() -> None:
    """As it was written to disk; and what has no encoding is still written so."""
    written = b'\narquivo/1 {"sha256": "%b", "size": 12, "type": "text/plain"}' % SHA256.encode()
    encoded = written.ljust(record.SIZE - 1) + b"\n"
    assert record.decode(encoded, 12 + record.SIZE) == Record(12, SHA256, "text/plain", "")
    assert record.encode(Record(12, SHA256, "text/plain", "")) == encoded


@pytest.mark.parametrize("encoded", [b"", b"x" * record.SIZE, b"\narquivo/1 {}".ljust(record.SIZE), b"\narquivo/1 {"])
def test_what_is_no_record_is_damage(encoded: bytes) -> None:
    with pytest.raises(DamagedFile):
        record.decode(encoded, 1000)


def test_a_file_cut_short_is_damage() -> None:
    encoded = record.encode(Record(size=10, sha256=SHA256, content_type="x"))
    with pytest.raises(DamagedFile, match="holds 9 bytes, 10 were stored"):
        record.decode(encoded, 9 + record.SIZE)
