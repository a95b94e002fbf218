from __future__ import annotations

import asyncio
import gc
import gzip
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from service.aws.queues import BATCH_BYTES
from service.http.errors import Problem, Stalled
from service.http.tokens import UNREAD_BODY_BYTES, WAITING_BYTES, Tokens
from service.ingest.batching import Batcher
from service.ingest.payload import Members
from service.ingest.routes import BODY_BYTES, IngestRoutes
from service.thread_pool import ThreadPool
from tests.service.harness import LIVENESS_SECONDS, PROBLEM, TOKEN, Api
from tests.service.memory import MemoryParameter

DATA = {"email_timestream": 1749465045, "hello": "world"}


def ingest(api: Api, content: object, path: str = "/ingest", **headers: str) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return api.client.post(path, content=body, headers=headers)


def bodies(api: Api) -> list[str]:
    return [message.body for message in api.queue.receive(10)]


def test_ingest_queues_the_data_and_answers_with_the_message_id(api: Api) -> None:
    answer = ingest(api, {"token": TOKEN, "data": DATA})
    assert answer.status_code == 202
    (message,) = api.queue.receive(10)
    assert answer.json() == {"message": "Payload accepted and queued.", "message_id": message.message_id}
    assert json.loads(message.body) == DATA
    assert TOKEN not in message.body


def test_submit_queues_all_members_but_the_token(api: Api) -> None:
    answer = ingest(api, {"token": TOKEN, **DATA, "email_timestream": "2025-06-09T10:30:45Z"}, "/submit")
    assert answer.status_code == 202
    assert [json.loads(body) for body in bodies(api)] == [{**DATA, "email_timestream": "2025-06-09T10:30:45Z"}]


def test_characters_that_sqs_refuses_arrive_all_the_same(api: Api) -> None:
    text = "é😀\ufffe\uffff\u0001\u2028"
    assert ingest(api, {"token": TOKEN, "data": {**DATA, text: text}}).status_code == 202
    (body,) = bodies(api)
    assert json.loads(body)[text] == text
    assert "\ufffe" not in body


@pytest.mark.parametrize("path", ["/ingest", "/submit"])
def test_the_token_may_come_in_the_header(api: Api, path: str) -> None:
    content = {"data": DATA} if path == "/ingest" else DATA
    headers = {b"Content-Type": b"application/json", **api.authorization}
    assert api.client.post(path, content=json.dumps(content).encode(), headers=headers).status_code == 202


@pytest.mark.parametrize("path", ["/ingest", "/submit"])
@pytest.mark.parametrize("token", [{}, {"token": "no"}, {"token": None}, {"token": 1}, {"token": ""}, {"token": ["x"]}])
def test_a_missing_or_wrong_token_is_401_and_queues_nothing(api: Api, path: str, token: dict[str, object]) -> None:
    answer = ingest(api, {**token, "data": DATA, **DATA}, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(api.queue) == 0


def test_a_wrong_token_in_the_header_is_401_whatever_the_body_says(api: Api) -> None:
    assert ingest(api, {"token": TOKEN, "data": DATA}, authorization="Bearer wrong").status_code == 401


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("/ingest", {}, "data"),
        ("/ingest", {"data": []}, "data"),
        ("/ingest", {"data": {}}, "data.email_timestream"),
        ("/ingest", {"data": {"email_timestream": True}}, "data.email_timestream"),
        ("/ingest", {"data": {"email_timestream": "soon"}}, "data.email_timestream"),
        ("/submit", {}, "email_timestream"),
        ("/submit", {"email_timestream": None}, "email_timestream"),
    ],
)
def test_what_is_wrong_with_which_field_is_422(api: Api, path: str, content: dict[str, object], field: str) -> None:
    answer = ingest(api, {"token": TOKEN, **content}, path)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["detail"].startswith(f"{field}: ")
    assert len(api.queue) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"token": NaN}'])
def test_what_is_no_json_is_400(api: Api, body: bytes) -> None:
    answer = ingest(api, body)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:problem:not-json"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_another_media_type_is_415(api: Api, media_type: str) -> None:
    answer = api.client.post("/ingest", content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code == 415


def test_parameters_of_the_media_type_do_not_matter(api: Api) -> None:
    answer = ingest(api, {"token": TOKEN, "data": DATA}, Content_Type="Application/JSON; charset=utf-8")
    assert answer.status_code == 202


def test_what_the_queue_takes_is_the_limit(api: Api) -> None:
    data = {**DATA, "x": ""}
    room = BATCH_BYTES - len(json.dumps(data))
    assert ingest(api, {"token": TOKEN, "data": {**data, "x": "x" * room}}).status_code == 202
    answer = ingest(api, {"token": TOKEN, "data": {**data, "x": "x" * (room + 1)}})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM


def test_a_body_beyond_any_message_is_413_unread(api: Api) -> None:
    assert ingest(api, b"x" * (BODY_BYTES + 1)).status_code == 413
    headers = {"Content-Type": "application/json"}
    pieces = iter([b"x" * 300_000] * 4)
    assert api.client.post("/ingest", content=pieces, headers=headers).status_code == 413


def test_a_queue_that_is_away_is_503_with_a_time_to_come_back(api: Api) -> None:
    api.queue.away = True
    answer = ingest(api, {"token": TOKEN, "data": DATA})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_one_key_and_body_make_one_object_name(api: Api) -> None:
    for _ in range(2):
        assert ingest(api, {"token": TOKEN, "data": DATA}, idempotency_key="key-1").status_code == 202
    ingest(api, {"token": TOKEN, "data": DATA}, idempotency_key="key-2")
    ingest(api, {"token": TOKEN, "data": {**DATA, "n": 1}}, idempotency_key="key-1")
    ingest(api, {"token": TOKEN, **DATA}, "/submit")
    names = [message.object_name for message in api.queue.receive(10)]
    assert names[0] == names[1]
    assert names[4] is None
    assert len(set(names)) == 4
    assert str(names[0]).startswith("2025/06/09/")


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tbed"])
def test_a_key_that_can_not_be_is_400(api: Api, key: str) -> None:
    answer = ingest(api, {"token": TOKEN, "data": DATA}, idempotency_key=key)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


def test_a_message_is_queued_only_if_the_preconditions_hold_of_what_is_not_kept_here(api: Api) -> None:
    content = {"token": TOKEN, "data": {"email_timestream": 1749465045}}
    for tag in ("*", '"x"'):
        assert api.client.post("/ingest", json=content, headers={"If-Match": tag}).status_code == 412
    assert bodies(api) == []
    for tag in ("*", '"x"'):
        assert api.client.post("/ingest", json=content, headers={"If-None-Match": tag}).status_code == 202


def test_a_rotated_token_works_without_a_restart(api: Api) -> None:
    api.parameter.value = "new"
    assert ingest(api, {"token": "new", "data": DATA}).status_code == 202
    assert ingest(api, {"token": TOKEN, "data": DATA}).status_code == 202


def test_a_large_body_is_read_like_a_small_one(api: Api) -> None:
    data = {**DATA, "n": [1] * 100_000}
    assert ingest(api, {"token": TOKEN, "data": data}).status_code == 202
    assert ingest(api, {"token": TOKEN, **data}, "/submit").status_code == 202
    headers = {b"Content-Type": b"application/json", **api.authorization}
    assert api.client.post("/ingest", content=json.dumps({"data": data}).encode(), headers=headers).status_code == 202
    assert [json.loads(body) for body in bodies(api)] == [data] * 3
    assert ingest(api, {"token": "wrong", "data": data}).status_code == 401
    answer = ingest(api, {"token": TOKEN, "data": {**data, "email_timestream": None}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "data.email_timestream")
    assert ingest(api, b"[" * 100_000).json()["type"] == "urn:problem:not-json"
    assert len(bodies(api)) == 0


def exchange(api: Api, *messages: dict[str, Any], **bounds: Any) -> list[dict[str, Any]]:
    """What /ingest sends, or raises, to a client that sends ``messages`` and then nothing more."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    threads = ThreadPool("test", 1)
    tokens = Tokens(MemoryParameter(TOKEN), threads)
    tokens.load()

    async def main() -> None:
        (route, _) = IngestRoutes(Batcher(api.queue, threads), tokens, **bounds).routes()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/ingest",
            "headers": [(b"content-type", b"application/json")],
        }
        await route.handle({**scope, **route.matches(scope)[1]}, receive, send)

    try:
        asyncio.run(main())
    finally:
        threads.close()
    return sent


def test_a_body_may_come_in_pieces(api: Api) -> None:
    body = json.dumps({"token": TOKEN, "data": DATA}).encode()
    pieces = [{"type": "http.request", "body": body[at : at + 20], "more_body": True} for at in range(0, len(body), 20)]
    sent = exchange(api, *pieces, {"type": "http.request", "body": b"", "more_body": False})
    assert sent[0]["status"] == 202
    assert len(api.queue) == 1


def test_a_client_that_stalls_is_given_up(api: Api) -> None:
    with pytest.raises(Stalled):
        exchange(api, {"type": "http.request", "body": b"{", "more_body": True}, stall_seconds=0.05)


def test_a_client_that_vanishes_queues_nothing(api: Api) -> None:
    with pytest.raises(ClientDisconnect):
        exchange(api, {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    assert len(api.queue) == 0


def test_a_body_that_trickles_for_too_long_is_given_up(api: Api) -> None:
    trickle = {"type": "http.request", "body": b" ", "more_body": True}
    with pytest.raises(Stalled, match="did not end within 0 s"):
        exchange(api, trickle, trickle, body_seconds=0)
    # Nor is one taken whose last piece comes too late.
    with pytest.raises(Stalled, match="did not end within 0 s"):
        exchange(api, trickle, {"type": "http.request", "body": b"{}", "more_body": False}, body_seconds=0)


class Clients:
    """Clients of one /ingest that send their bodies piece by piece."""

    def __init__(
        self,
        api: Api,
        parameter: MemoryParameter | None = None,
        *,
        most_waiting_bytes: int = WAITING_BYTES,
        **bounds: Any,
    ) -> None:
        self._threads = ThreadPool("test", 2)
        parameter = parameter or MemoryParameter(TOKEN)
        tokens = Tokens(
            parameter, self._threads, patience_seconds=LIVENESS_SECONDS, most_waiting_bytes=most_waiting_bytes
        )
        tokens.load()
        (self._route, _) = IngestRoutes(Batcher(api.queue, self._threads), tokens, **bounds).routes()

    def begin(self, *pieces: bytes, headers: Headers = ()) -> tuple[asyncio.Queue[Any], asyncio.Task[int]]:
        """A client that has sent ``pieces``: where to put what it sends next, and the status that it gets."""
        messages: asyncio.Queue[Any] = asyncio.Queue()
        for piece in pieces:
            messages.put_nowait(piece_of(piece))
        return messages, asyncio.create_task(self._serve(messages, headers))

    async def _serve(self, messages: asyncio.Queue[Any], headers: Headers) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/ingest", "headers": [JSON, *headers]}
        try:
            await self._route.handle({**scope, **self._route.matches(scope)[1]}, messages.get, send)
        except Problem as problem:
            assert problem.status != 503 or int(problem.headers["Retry-After"]) > 0
            return problem.status
        return int(sent[0]["status"])

    def close(self) -> None:
        self._threads.close(wait=False)


JSON = (b"content-type", b"application/json")
Headers = Sequence[tuple[bytes, bytes]]


def piece_of(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def body_of(size: int, token: str = TOKEN) -> bytes:
    body = json.dumps({"token": token, "data": {**DATA, "x": ""}}).encode()
    return body.replace(b'"x": ""', b'"x": "%s"' % (b"x" * (size - len(body))))


def test_bodies_under_way_take_no_more_than_they_may_together_and_small_ones_still_pass(api: Api) -> None:
    async def main() -> None:
        clients = Clients(api, held_bytes=2_000_000)
        large = body_of(500_000)
        held = [clients.begin(large[:-1]) for _ in range(3)]
        await asyncio.sleep(0.01)
        # There is room for 1,500,000 bytes of large bodies.
        assert await clients.begin(large[:-1])[1] == 503
        small = body_of(60_000)
        for _ in range(2):
            messages, answer = clients.begin(small[:100], small[100:-1])
            messages.put_nowait(piece_of(small[-1:], more=False))
            assert await answer == 202
        filling = [clients.begin(small[:-1]) for _ in range(8)]
        assert await clients.begin(small[:-1])[1] == 503
        for messages, answer in [*filling, *held]:
            messages.put_nowait(piece_of(b"}", more=False))
            assert await answer == 202
        clients.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (piece_of(b"}", more=False), 202),
        (piece_of(b"!", more=False), 400),
        (piece_of(b"x" * BODY_BYTES), 413),
        ({"type": "http.disconnect"}, None),
    ],
)
def test_a_body_that_has_ended_in_any_way_makes_room(api: Api, end: dict[str, Any], expected: int | None) -> None:
    async def main() -> None:
        clients = Clients(api, held_bytes=800_000)
        for _ in range(3):
            messages, answer = clients.begin(body_of(500_000)[:-1])
            messages.put_nowait(end)
            if expected is None:
                with pytest.raises(ClientDisconnect):
                    await answer
            else:
                assert await answer == expected
        clients.close()

    asyncio.run(main())


def test_a_large_body_counts_until_its_client_is_known(api: Api) -> None:
    async def main() -> None:
        parameter = SlowParameter(TOKEN)
        clients = Clients(api, parameter, held_bytes=800_000)
        messages, answer = clients.begin(body_of(500_000, token="unknown")[:-1])
        messages.put_nowait(piece_of(b"}", more=False))
        await asyncio.to_thread(parameter.asked.wait, LIVENESS_SECONDS)
        assert await clients.begin(body_of(500_000)[:-1])[1] == 503
        parameter.go_on.set()
        assert await answer == 401
        messages, answer = clients.begin(body_of(500_000)[:-1])
        messages.put_nowait(piece_of(b"}", more=False))
        assert await answer == 202
        clients.close()

    asyncio.run(main())


class SlowParameter(MemoryParameter):
    """Hangs when it is read for the second time, until it may go on."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def get(self) -> str:
        if self.reads:
            self.asked.set()
            assert self.go_on.wait(LIVENESS_SECONDS)
        return super().get()


@pytest.mark.parametrize("size", [1000, 100_000])
def test_nothing_of_what_a_body_means_waits_for_its_token(api: Api, size: int) -> None:
    async def main() -> None:
        parameter = SlowParameter(TOKEN)
        clients = Clients(api, parameter)
        messages, answer = clients.begin()
        messages.put_nowait(piece_of(body_of(size, token="unknown"), more=False))
        assert await asyncio.to_thread(parameter.asked.wait, LIVENESS_SECONDS)
        gc.collect()
        assert [found for found in gc.get_objects() if isinstance(found, Members)] == []
        parameter.value = "unknown"
        parameter.go_on.set()
        assert await answer == 202, "it was read again"
        clients.close()

    asyncio.run(main())


def test_requests_whose_token_is_in_the_header_count_by_what_the_server_has_taken_in(api: Api) -> None:
    async def main() -> None:
        parameter = SlowParameter(TOKEN)
        clients = Clients(api, parameter, most_waiting_bytes=UNREAD_BODY_BYTES + 1000)
        large = [(b"authorization", b"Bearer guess"), (b"content-length", b"1000000")]
        first = clients.begin(headers=large)[1]
        assert await asyncio.to_thread(parameter.asked.wait, LIVENESS_SECONDS)
        assert await clients.begin(headers=large)[1] == 503
        assert await clients.begin(headers=large[:1])[1] == 503, "it may be as large"
        small = clients.begin(headers=[(b"authorization", b"Bearer guess"), (b"content-length", b"900")])[1]
        assert await clients.begin(headers=[(b"authorization", b"Bearer guess"), (b"content-length", b"900")])[1] == 503
        parameter.go_on.set()
        assert [await first, await small] == [401, 401]
        clients.close()

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/ingest", "/submit"])
@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "BR"])
def test_an_encoded_body_is_415_with_what_would_be_taken(api: Api, path: str, coding: str) -> None:
    """RFC 9110, sections 12.5.3 and 15.5.16."""
    content = gzip.compress(json.dumps({"token": TOKEN, "data": DATA, **DATA}).encode())
    answer = ingest(api, content, path, Content_Encoding=coding)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert repr(coding) in answer.json()["detail"]
    assert len(api.queue) == 0


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_a_body_that_is_not_encoded_may_say_so(api: Api, coding: str) -> None:
    assert ingest(api, {"token": TOKEN, "data": DATA}, Content_Encoding=coding).status_code == 202


def test_another_media_type_does_not_say_which_codings_would_be_taken(api: Api) -> None:
    """Section 12.5.3: the field would say that the coding was what is wrong."""
    answer = api.client.post("/ingest", content=b"{}", headers={"Content-Type": "text/plain"})
    assert "accept-encoding" not in answer.headers
