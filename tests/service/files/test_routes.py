from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from starlette.types import Message

from service.files.downloads import PIECE_BYTES
from service.files.ids import IdSource
from service.files.store import FileStore
from tests.service.harness import PROBLEM, Api, running_api
from tests.service.live_api import live_api
from tests.service.raw_http import Connection

CONTENT = b"file content"
SHA256 = hashlib.sha256(CONTENT)
DIGEST = f"sha-256=:{base64.b64encode(SHA256.digest()).decode()}:"
ETAG = f'"{SHA256.hexdigest()}"'
# Days around the moment in which a file was stored.
DAYS = {"E": -1, "L": 0, "N": 1}
ABSENT = "01978a3b-2c1d-7000-8000-000000000000"


def store_file(api: Api, content: bytes = CONTENT, **headers: str) -> str:
    answer = api.client.post("/arquivos", content=content, headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_an_upload_is_answered_with_its_name_size_and_digest(api: Api) -> None:
    answer = api.client.post("/arquivos", content=CONTENT)
    body = answer.json()
    assert answer.status_code == 201
    assert body == {
        "message": "Arquivo salvo com sucesso",
        "file": f"/mnt/efs/{body['id']}.txt",
        "id": body["id"],
        "size": 12,
        "sha256": SHA256.hexdigest(),
    }
    assert answer.headers["location"] == f"/arquivos/{body['id']}"
    assert answer.headers["etag"] == ETAG
    assert api.parts() == []


def test_a_stored_file_comes_back_byte_for_byte_under_safe_headers(api: Api) -> None:
    file_id = store_file(api, content_type="text/html; charset=utf-8")
    for name in (file_id, f"{file_id}.txt", file_id.upper()):
        answer = api.client.get(f"/arquivos/{name}")
        assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-length"] == "12"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["repr-digest"] == DIGEST
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == f'attachment; filename="{file_id}.txt"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "last-modified" in answer.headers


def test_the_body_of_a_form_post_is_stored_as_it_is(api: Api) -> None:
    file_id = store_file(api, b"a=1&b=%20", content_type="application/x-www-form-urlencoded")
    assert api.client.get(f"/arquivos/{file_id}").content == b"a=1&b=%20"


def test_an_upload_without_a_type_is_octets(api: Api) -> None:
    file_id = store_file(api)
    assert api.client.get(f"/arquivos/{file_id}").headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES[1] - 1, PIECE_BYTES[1] + 1, 3 * 1024 * 1024 + 17])
def test_any_size_comes_back(api: Api, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    file_id = store_file(api, content)
    answer = api.client.get(f"/arquivos/{file_id}")
    assert answer.content == content
    assert answer.headers["content-length"] == str(size)


def test_a_chunked_upload_has_no_length_and_is_stored_whole(api: Api) -> None:
    pieces = [bytes([number]) * 50_000 for number in range(20)]

    def body() -> Iterator[bytes]:
        yield from pieces

    answer = api.client.post("/arquivos", content=body())
    assert answer.json()["size"] == 1_000_000
    assert api.client.get(f"/arquivos/{answer.json()['id']}").content == b"".join(pieces)


def test_head_has_the_headers_of_get_and_no_body(api: Api) -> None:
    file_id = store_file(api)
    get, head = api.client.get(f"/arquivos/{file_id}"), api.client.head(f"/arquivos/{file_id}")
    ignored = {"x-request-id"}
    assert head.status_code == 200
    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }


def test_a_range_is_answered_with_just_these_bytes(api: Api) -> None:
    file_id = store_file(api)
    answer = api.client.get(f"/arquivos/{file_id}", headers={"Range": "bytes=5-8"})
    assert (answer.status_code, answer.content) == (206, b"cont")
    assert answer.headers["content-range"] == "bytes 5-8/12"
    suffix = api.client.get(f"/arquivos/{file_id}", headers={"Range": "bytes=-7"})
    assert (suffix.status_code, suffix.content) == (206, b"content")


def test_a_range_of_a_large_file_crosses_the_pieces_it_is_read_in(api: Api) -> None:
    content = bytes(range(251)) * 4000
    file_id = store_file(api, content)
    answer = api.client.get(f"/arquivos/{file_id}", headers={"Range": f"bytes=100-{PIECE_BYTES[1] * 2 + 3}"})
    assert answer.status_code == 206
    assert answer.content == content[100 : PIECE_BYTES[1] * 2 + 4]


def test_a_range_behind_the_end_is_416_and_names_the_size(api: Api) -> None:
    file_id = store_file(api)
    answer = api.client.get(f"/arquivos/{file_id}", headers={"Range": "bytes=12-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */12"
    assert answer.headers["content-type"] == PROBLEM


def test_if_range_of_another_version_gets_the_whole(api: Api) -> None:
    file_id = store_file(api)
    headers = {"Range": "bytes=0-1", "If-Range": '"other"'}
    assert api.client.get(f"/arquivos/{file_id}", headers=headers).status_code == 200
    assert api.client.get(f"/arquivos/{file_id}", headers={**headers, "If-Range": ETAG}).status_code == 206


def test_a_known_version_is_304_without_a_body(api: Api) -> None:
    file_id = store_file(api)
    answer = api.client.get(f"/arquivos/{file_id}", headers={"If-None-Match": f'"x", {ETAG}'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == ETAG
    modified = api.client.get(f"/arquivos/{file_id}").headers["last-modified"]
    assert api.client.get(f"/arquivos/{file_id}", headers={"If-Modified-Since": modified}).status_code == 304


def test_if_match_of_another_version_is_412(api: Api) -> None:
    file_id = store_file(api)
    answer = api.client.get(f"/arquivos/{file_id}", headers={"If-Match": '"other"'})
    assert answer.status_code == 412
    assert api.client.delete(f"/arquivos/{file_id}", headers={"If-Match": '"other"'}).status_code == 412
    assert api.client.get(f"/arquivos/{file_id}").status_code == 200


def test_a_list_of_tags_may_come_on_several_lines_and_with_empty_members(api: Api) -> None:
    path = f"/arquivos/{store_file(api)}"
    for lines in (["X", "Y"], ["Y", "X"], ["", "X"], [", X"], ["Y,, X,"]):
        values = [line.replace("X", ETAG).replace("Y", '"another"') for line in lines]
        assert api.client.get(path, headers=[("If-Match", value) for value in values]).status_code == 200
        assert api.client.get(path, headers=[("If-None-Match", value) for value in values]).status_code == 304
        assert api.client.delete(path, headers=[("If-None-Match", value) for value in values]).status_code == 412
    assert api.client.delete(path, headers=[("If-Match", '"another"'), ("If-Match", ETAG)]).status_code == 204


@pytest.mark.parametrize(
    ("headers", "expected"),
    # By RFC 9110, section 13.2.2, for GET and for DELETE; A is the tag, L the date of the file, E and N dates around it.
    [
        ({"If-Match": "A"}, (200, 204)),
        ({"If-Match": "*"}, (200, 204)),
        ({"If-Match": "B"}, (412, 412)),
        ({"If-Match": "A", "If-Unmodified-Since": "E"}, (200, 204)),
        ({"If-Match": "B", "If-Unmodified-Since": "N"}, (412, 412)),
        ({"If-Unmodified-Since": "L"}, (200, 204)),
        ({"If-Unmodified-Since": "E"}, (412, 412)),
        ({"If-None-Match": "A"}, (304, 412)),
        ({"If-None-Match": "W/A"}, (304, 412)),
        ({"If-None-Match": "*"}, (304, 412)),
        ({"If-None-Match": "B"}, (200, 204)),
        ({"If-None-Match": "B", "If-Modified-Since": "N"}, (200, 204)),
        ({"If-None-Match": "A", "If-Modified-Since": "E"}, (304, 412)),
        ({"If-Modified-Since": "L"}, (304, 204)),
        ({"If-Modified-Since": "E"}, (200, 204)),
        ({"If-Match": "A", "If-None-Match": "A"}, (304, 412)),
        ({"If-Match": "B", "If-None-Match": "A"}, (412, 412)),
        ({"If-Match": "A", "If-None-Match": "B"}, (200, 204)),
        ({"If-Unmodified-Since": "E", "If-None-Match": "A"}, (412, 412)),
        ({"If-Match": "A", "If-Modified-Since": "L"}, (304, 204)),
    ],
)
def test_preconditions_are_evaluated_in_their_order(
    api: Api, headers: dict[str, str], expected: tuple[int, int]
) -> None:
    path = f"/arquivos/{store_file(api)}"
    stored = parsedate_to_datetime(api.client.get(path).headers["last-modified"])
    around = {name: format_datetime(stored + timedelta(days=days), usegmt=True) for name, days in DAYS.items()}
    tags = {"A": ETAG, "W/A": f"W/{ETAG}", "B": '"another"', "*": "*"}
    sent = {name: {**tags, **around}[value] for name, value in headers.items()}
    reading, removing = expected
    assert api.client.get(path, headers=sent).status_code == reading
    assert api.client.head(path, headers=sent).status_code == reading
    answer = api.client.delete(path, headers=sent)
    assert answer.status_code == removing
    assert removing == 204 or answer.json()["type"] == "urn:problem:precondition-failed"
    assert api.client.head(path).status_code == (404 if removing == 204 else 200)


@pytest.mark.parametrize("headers", [{"If-Match": "*"}, {"If-None-Match": '"x"'}, {"If-None-Match": "*"}])
def test_conditions_on_what_is_not_there_do_not_matter(api: Api, headers: dict[str, str]) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        assert api.client.request(method, f"/arquivos/{ABSENT}", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "*"}, 201),
        ({"If-None-Match": '"x"'}, 201),
        ({"If-Unmodified-Since": "Fri, 20 Nov 2020 12:00:00 GMT"}, 201),
        ({"If-Modified-Since": "Fri, 20 Nov 2020 12:00:00 GMT"}, 201),
        ({"If-Match": '"x"'}, 412),
        ({"If-None-Match": "*"}, 412),
    ],
)
def test_the_conditions_of_an_upload_are_about_the_list_which_has_no_tag_and_no_date(
    api: Api, headers: dict[str, str], status: int
) -> None:
    assert api.client.post("/arquivos", content=CONTENT, headers=headers).status_code == status
    assert len(api.client.get("/arquivos").json()["files"]) == (status == 201)
    assert api.parts() == []


def test_a_file_from_a_host_whose_clock_is_ahead_is_not_modified_in_the_future(tmp_path: Path) -> None:
    ahead = IdSource(lambda: time.time_ns() + 3_600_000_000_000)
    with running_api(tmp_path, store=FileStore(tmp_path, id_source=ahead)) as api:
        path = f"/arquivos/{store_file(api)}"
        for method in ("GET", "HEAD"):
            modified = parsedate_to_datetime(api.client.request(method, path).headers["last-modified"])
            assert modified.timestamp() <= time.time()


def test_no_answer_of_a_server_is_older_than_the_file_that_it_carries(tmp_path: Path) -> None:
    with live_api(tmp_path / "files", "asyncio") as served, Connection(served.port) as connection:
        for _ in range(20):
            path = connection.ask("POST", "/arquivos", b"x").headers["location"]
            headers = connection.ask("GET", path).headers
            assert parsedate_to_datetime(headers["last-modified"]) <= parsedate_to_datetime(headers["date"])


def test_a_deleted_file_is_gone(api: Api) -> None:
    file_id = store_file(api)
    assert api.client.delete(f"/arquivos/{file_id}.txt", headers={"If-Match": ETAG}).status_code == 204
    assert api.client.get(f"/arquivos/{file_id}").status_code == 404
    assert api.client.delete(f"/arquivos/{file_id}").status_code == 404
    assert api.client.get("/arquivos").json() == {"files": []}


@pytest.mark.parametrize(
    "name",
    [
        ABSENT,
        "nope",
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e",
        f"{ABSENT}.json",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        ABSENT[:-1],
        f"{ABSENT}%00",
        f"{ABSENT}%0A",
    ],
)
def test_a_name_that_is_none_is_404_and_never_a_path(api: Api, name: str) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        answer = api.client.request(method, f"/arquivos/{name}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == PROBLEM


def test_files_are_listed_oldest_first_in_pages(api: Api) -> None:
    names = [f"{store_file(api)}.txt" for _ in range(5)]
    assert api.client.get("/arquivos").json() == {"files": names}
    first = api.client.get("/arquivos?limit=2")
    assert first.json() == {"files": names[:2], "next": names[1]}
    assert first.links["next"]["url"] == f"/arquivos?limit=2&after={names[1]}"
    second = api.client.get(first.links["next"]["url"])
    assert second.json() == {"files": names[2:4], "next": names[3]}
    last = api.client.get(f"/arquivos?limit=2&after={names[3][:-4]}")
    assert last.json() == {"files": names[4:]}
    assert "link" not in last.headers


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "limit=%C2%B2", "after=x", "after=.."])
def test_a_page_that_can_not_be_is_400(api: Api, query: str) -> None:
    answer = api.client.get(f"/arquivos?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
def test_a_digest_is_checked_and_a_mismatch_stores_nothing(api: Api, field: str) -> None:
    good = api.client.post("/arquivos", content=CONTENT, headers={field: f"md5=:AAAA:, {DIGEST}"})
    assert good.status_code == 201
    bad = api.client.post("/arquivos", content=CONTENT + b"!", headers={field: DIGEST})
    assert bad.status_code == 400
    assert bad.json()["type"] == "urn:problem:digest-mismatch"
    broken = api.client.post("/arquivos", content=CONTENT, headers={field: "sha-256=nonsense"})
    assert broken.status_code == 400
    assert len(api.client.get("/arquivos").json()["files"]) == 1
    assert api.parts() == []


@pytest.mark.parametrize("names", [("Content-Digest",) * 2, ("Repr-Digest",) * 2, ("Content-Digest", "Repr-Digest")])
def test_of_two_digests_none_is_passed_over(api: Api, names: tuple[str, str]) -> None:
    other = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"
    for values in ((DIGEST, other), (other, DIGEST)):
        answer = api.client.post("/arquivos", content=CONTENT, headers=list(zip(names, values, strict=True)))
        assert (answer.status_code, "different" in answer.json()["detail"]) == (400, True)
    assert api.client.get("/arquivos").json() == {"files": []}
    for values in ((DIGEST, DIGEST), ("md5=:AAAA:", DIGEST), (DIGEST, "md5=:AAAA:")):
        answer = api.client.post("/arquivos", content=CONTENT, headers=list(zip(names, values, strict=True)))
        assert answer.status_code == 201


def test_too_large_is_413_before_the_body_is_read(tmp_path: Path) -> None:
    with running_api(tmp_path, files_max_bytes=10) as api:
        answer = api.client.post("/arquivos", content=b"x" * 11)
        assert answer.status_code == 413
        assert api.client.post("/arquivos", content=b"x" * 10).status_code == 201


def test_too_large_by_count_is_413_and_leaves_nothing(tmp_path: Path) -> None:
    with running_api(tmp_path, files_max_bytes=300_000) as api:
        answer = api.client.post("/arquivos", content=iter([b"x" * 200_000] * 2))
        assert answer.status_code == 413
        assert api.client.get("/arquivos").json() == {"files": []}
        assert api.parts() == []


def test_a_content_type_too_long_to_keep_is_400(api: Api) -> None:
    answer = api.client.post("/arquivos", content=b"x", headers={"Content-Type": "text/" + "x" * 600})
    assert answer.status_code == 400
    assert "Content-Type" in answer.json()["detail"]


def _raw(api: Api, method: str, file_id: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The answer and its bytes as they were sent, which a client decodes otherwise."""
    with api.client.stream(method, f"/arquivos/{file_id}", headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


def test_an_encoded_upload_comes_back_with_its_encoding_and_a_client_decodes_it(api: Api) -> None:
    encoded = gzip.compress(CONTENT * 100)
    digest = hashlib.sha256(encoded)
    field = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    file_id = store_file(api, encoded, content_encoding="gzip", content_type="text/plain", repr_digest=field)
    answer = api.client.get(f"/arquivos/{file_id}")
    assert (answer.content, answer.headers["content-encoding"]) == (CONTENT * 100, "gzip")
    assert answer.headers["content-type"] == "text/plain"
    for method in ("GET", "HEAD"):
        # Also for who would rather have it decoded: there is one representation, so Vary has nothing to say.
        answer, sent = _raw(api, method, file_id, **{"Accept-Encoding": "identity"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        assert sent == (encoded if method == "GET" else b"")
        assert answer.headers["content-length"] == str(len(encoded))
        assert (answer.headers["etag"], answer.headers["repr-digest"]) == (f'"{digest.hexdigest()}"', field)
        assert "vary" not in answer.headers


def test_ranges_and_preconditions_are_of_the_encoded_bytes(api: Api) -> None:
    encoded = gzip.compress(CONTENT)
    file_id = store_file(api, encoded, content_encoding="gzip")
    answer, sent = _raw(api, "GET", file_id, Range="bytes=2-5")
    assert (answer.status_code, sent) == (206, encoded[2:6])
    assert answer.headers["content-range"] == f"bytes 2-5/{len(encoded)}"
    assert answer.headers["content-encoding"] == "gzip"
    # What has a body of its own, or none, has not this one's encoding.
    etag = answer.headers["etag"]
    for status, headers in ((304, {"If-None-Match": etag}), (412, {"If-Match": '"x"'}), (416, {"Range": "bytes=999-"})):
        answer = api.client.get(f"/arquivos/{file_id}", headers=headers)
        assert answer.status_code == status
        assert "content-encoding" not in answer.headers


def test_encodings_on_several_lines_are_one_list_and_identity_is_none(api: Api) -> None:
    lines = [("Content-Encoding", "aes128gcm"), ("Content-Encoding", "x-other, identity")]
    answer = api.client.post("/arquivos", content=CONTENT, headers=lines)
    kept, sent = _raw(api, "GET", answer.json()["id"])
    assert (kept.headers["content-encoding"], sent) == ("aes128gcm, x-other", CONTENT)
    for encoding in ("identity", ""):
        file_id = store_file(api, content_encoding=encoding)
        assert "content-encoding" not in api.client.get(f"/arquivos/{file_id}").headers


def test_an_encoding_that_is_no_list_of_tokens_or_too_long_is_400_and_stores_nothing(api: Api) -> None:
    for encoding, said in (("gzip br", "'gzip br'"), ("x" * 600, "encoding of 600")):
        answer = api.client.post("/arquivos", content=CONTENT, headers={"Content-Encoding": encoding})
        assert answer.status_code == 400
        assert said in answer.json()["detail"]
    assert api.client.get("/arquivos").json() == {"files": []}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_507_and_leaves_nothing(tmp_path: Path, code: int) -> None:
    def full(_: int) -> None:
        raise OSError(code, "full")

    with running_api(tmp_path, store=FileStore(tmp_path, sync=full)) as api:
        answer = api.client.post("/arquivos", content=CONTENT)
        assert answer.status_code == 507
        assert answer.headers["content-type"] == PROBLEM
        assert api.client.get("/arquivos").json() == {"files": []}
        assert api.parts() == []


def test_a_failing_disk_is_503_and_leaves_nothing(tmp_path: Path) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    with running_api(tmp_path, store=FileStore(tmp_path, sync=broken)) as api:
        answer = api.client.post("/arquivos", content=CONTENT)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:problem:unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert "EIO" in answer.json()["detail"]
        assert "broken" not in answer.text
        assert api.parts() == []


def test_one_upload_too_many_is_503_with_a_time_to_come_back(tmp_path: Path) -> None:
    syncing, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        syncing.set()
        assert go_on.wait(10)

    with running_api(tmp_path, store=FileStore(tmp_path, sync=slow), files_max_uploads=1) as api:
        answers: list[int] = []
        first = threading.Thread(target=lambda: answers.append(api.client.post("/arquivos", content=b"1").status_code))
        first.start()
        assert syncing.wait(10)
        refused = api.client.post("/arquivos", content=b"2")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert api.client.get("/health/live").status_code == 200
        go_on.set()
        first.join()
        assert answers == [201]
        assert api.client.post("/arquivos", content=b"3").status_code == 201


def test_no_file_system_call_is_made_on_the_event_loop(tmp_path: Path) -> None:
    loop_thread: list[int] = []
    watching: list[bool] = []
    on_loop: list[str] = []
    off_loop: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        # Most calls name a file relative to a directory that is held open.
        if watching and event in ("open", "os.link", "os.listdir", "os.remove", "os.mkdir", "os.rmdir"):
            (on_loop if threading.get_ident() == loop_thread[0] else off_loop).append(event)

    sys.addaudithook(watch)  # stays for the rest of the run, and watches no more
    with running_api(tmp_path) as api:
        assert api.client.portal is not None
        loop_thread.append(api.client.portal.call(_thread_id))
        watching.append(True)
        file_id = store_file(api, b"x" * 1_000_000)
        assert api.client.get(f"/arquivos/{file_id}").status_code == 200
        assert api.client.get("/arquivos").status_code == 200
        assert api.client.get("/healthcheck").status_code == 200
        assert api.client.delete(f"/arquivos/{file_id}").status_code == 204
        watching.clear()
        assert api.parts() == []
    assert on_loop == []
    assert {"open", "os.link", "os.listdir", "os.remove"} <= set(off_loop)


async def _thread_id() -> int:
    return threading.get_ident()


def test_files_ask_for_the_token_unless_told_otherwise(tmp_path: Path) -> None:
    with running_api(tmp_path, files_auth="token") as api:
        for route in ("GET /arquivos", "POST /arquivos", "GET /arquivos/x", "HEAD /arquivos/x", "DELETE /arquivos/x"):
            refused = api.client.request(*route.split())
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        wrong = api.client.get("/arquivos", headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401
        assert api.client.get("/arquivos", headers={"Authorization": "Basic c2VjcmV0"}).status_code == 401
        authorization = api.authorization
        assert api.client.get("/arquivos", headers=authorization).status_code == 200
        assert api.client.post("/arquivos", content=CONTENT, headers=authorization).status_code == 201


Receive = Callable[[], Any]


async def _call(api: Api, receive: Receive) -> list[Message]:
    """Posts a file over bare ASGI, where a test decides what arrives when."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/arquivos",
        "query_string": b"",
        "headers": [(b"content-length", b"1000000")],
        "state": {},
    }
    await api.client.app(scope, receive, send)
    return sent


def test_a_client_that_vanishes_leaves_nothing_and_is_no_error(api: Api) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"x" * 200_000, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    portal = api.client.portal
    assert portal is not None
    assert portal.call(_call, api, receive) == []
    assert api.client.get("/arquivos").json() == {"files": []}
    assert api.parts() == []


def test_a_body_that_ends_before_its_length_is_400_and_leaves_nothing(api: Api) -> None:
    """uvicorn tells of a client that has gone; another server may only say that nothing more is to come."""
    pieces = [b"x" * 400_000, b"x" * 400_000, b"x" * 100_000]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    portal = api.client.portal
    assert portal is not None
    sent = portal.call(_call, api, receive)
    assert sent[0]["status"] == 400
    assert "900000 bytes, Content-Length says 1000000" in json.loads(sent[1]["body"])["detail"]
    assert api.client.get("/arquivos").json() == {"files": []}
    assert api.parts() == []


def test_a_client_that_stalls_is_408_and_leaves_nothing(tmp_path: Path) -> None:
    first = [True]

    async def receive() -> Message:
        if first and first.pop():
            return {"type": "http.request", "body": b"x" * 200_000, "more_body": True}
        await anyio.sleep_forever()
        raise AssertionError

    with running_api(tmp_path, files_stall_seconds=0.1) as api:
        portal = api.client.portal
        assert portal is not None
        sent = portal.call(_call, api, receive)
        assert sent[0]["status"] == 408
        assert json.loads(sent[1]["body"])["type"] == "urn:problem:body-stalled"
        assert api.client.get("/arquivos").json() == {"files": []}
        assert api.parts() == []
