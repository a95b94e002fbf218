from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from service.errors import Stalled
from service.ingest import BODY_BYTES, IngestRoutes
from service.memory import MemoryParameter
from service.queues import BATCH_BYTES
from service.sender import Sender
from service.threads import Threads
from service.tokens import Tokens
from tests.service.harness import PROBLEM, TOKEN, Api

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


def test_a_rotated_token_works_without_a_restart(api: Api) -> None:
    api.parameter.value = "new"
    assert ingest(api, {"token": "new", "data": DATA}).status_code == 202
    assert ingest(api, {"token": TOKEN, "data": DATA}).status_code == 202


def exchange(api: Api, *messages: dict[str, Any], stall_seconds: float = 30) -> list[dict[str, Any]]:
    """What /ingest sends, or raises, to a client that sends ``messages`` and then nothing more."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    threads = Threads("test", 1)
    tokens = Tokens(MemoryParameter(TOKEN), threads)
    tokens.load()

    async def main() -> None:
        (route, _) = IngestRoutes(Sender(api.queue, threads), tokens, stall_seconds=stall_seconds).routes()
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
