from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.asgi import header
from service.http.errors import BadRequest
from service.http.fields import SINGLE, combine, members, read, select
from tests.service.harness import Api, running_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("files")) as found:
        yield found


def test_the_lines_of_a_list_are_one_list_in_their_order() -> None:
    headers = [(b"accept", b"a/b"), (b"range", b"bytes=0-1"), (b"accept", b""), (b"accept", b"c/d;q=0.5")]
    fields, refusal = combine(headers)
    assert fields == {b"accept": b"a/b, , c/d;q=0.5", b"range": b"bytes=0-1"}
    assert refusal is None
    assert list(members(fields[b"accept"].decode())) == ["a/b", "c/d;q=0.5"]


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_a_single_value_that_comes_twice_is_refused_by_name(name: bytes) -> None:
    for second in (b"1", b"2"):
        fields, refusal = combine([(name, b"1"), (b"x", b"y"), (name, second)])
        assert fields == {name: b"1", b"x": b"y"}
        assert refusal is not None
        assert refusal.status == 400
        assert name.decode() in refusal.detail.lower()


@given(st.lists(st.lists(st.text("ab;= \t", min_size=1).filter(str.strip))))
def test_however_a_list_is_split_into_lines_its_members_are_the_same(lines: list[list[str]]) -> None:
    headers = [(b"accept", ",".join(line).encode()) for line in lines]
    fields, _ = combine(headers)
    expected = [member.strip(" \t") for line in lines for member in line]
    assert list(members(fields.get(b"accept", b"").decode())) == expected


def test_a_comma_within_quotes_ends_no_member() -> None:
    assert list(members(r'a;b="x,\",y" , ,c,"never ended, d')) == [r'a;b="x,\",y"', "c", '"never ended, d']


@given(st.text())
def test_no_text_breaks_it(value: str) -> None:
    assert all(member == member.strip(" \t") != "" for member in members(value))


def test_fields_are_combined_once_and_read_as_text() -> None:
    scope = {"headers": [(b"accept", b"a/b"), (b"accept", b"\xe9"), (b"range", b"x")]}
    assert header(scope, b"accept") == "a/b, é"
    assert header(scope, b"host") is None
    assert select(scope, {b"range", b"if-range"}) == {"range": "x"}
    assert read(scope) is read(scope)
    with pytest.raises(BadRequest, match="Range"):
        header({"headers": [(b"range", b"x")] * 2}, b"accept")


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "If-Modified-Since", "Idempotency-Key", "Range"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/arquivos"), ("GET", "/arquivos"), ("POST", "/ingest"), ("GET", "/health/live"), ("GET", "/docs")],
)
def test_every_route_refuses_a_single_value_that_comes_twice(api: Api, method: str, path: str, name: str) -> None:
    # An answer that any path may give is not described for each.
    api.client.event_hooks = {}
    answer = api.client.request(method, path, headers=[(name, "a"), (name, "a")])
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:problem:bad-request"
    assert name in answer.json()["detail"]
    assert api.client.get("/arquivos").json() == {"files": []}


def test_two_lengths_or_hosts_are_refused_whatever_the_server_lets_pass(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        for name in ("Content-Length", "Host"):
            answer = api.client.post("/arquivos", content=b"x", headers=[(name, "1"), (name, "1")])
            assert (answer.status_code, name in answer.json()["detail"]) == (400, True)
        assert api.client.get("/arquivos").json() == {"files": []}
