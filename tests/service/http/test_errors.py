"""Every error is ``application/problem+json`` with ``type``, ``title``, ``status``, ``detail`` and ``instance``."""

from __future__ import annotations

import asyncio
import gc
import inspect
import traceback
import weakref
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.http import errors
from service.http.errors import Problem, Unavailable, forget_locals
from service.http.lifecycle import Lifecycle
from service.http.middleware import Middleware
from tests.service.harness import PROBLEM, running_api

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = [
    "/",
    "/nope",
    "/healthcheck",
    "/health",
    "/health/live",
    "/health/",
    "/arquivos",
    "/arquivos/",
    "/arquivos/x",
    "/arquivos/01978a3b-2c1d-7000-8000-000000000000",
    "/arquivos/x/y",
    "/ingest",
    "/submit",
]


@pytest.mark.parametrize("state", ["open", "token", "draining", "broken"])
@pytest.mark.parametrize("path", PATHS)
def test_every_error_of_every_route_has_the_one_shape(tmp_path: Path, path: str, state: str) -> None:
    with running_api(tmp_path, files_auth="token" if state == "token" else "none") as api:
        api.lifecycle.draining = state == "draining"
        if state == "broken":
            api.store.root = tmp_path / "file"  # a fault that no route expects
            api.store.root.touch()
        for method in METHODS:
            answer = api.client.request(method, path, headers={"X-Request-ID": "id-1"})
            assert answer.headers["x-request-id"] == "id-1"
            if answer.status_code < 400:
                continue
            assert answer.headers["content-type"] == PROBLEM, f"{method} {path}: {answer.text}"
            if method == "HEAD":
                assert answer.content == b""
                continue
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["type"].startswith("urn:problem:")
            assert problem["title"] and problem["detail"]
            assert problem["instance"] == "id-1"
            if answer.status_code == 405:
                assert method not in answer.headers["allow"].split(", ")


def _problems(base: type[Problem]) -> list[type[Problem]]:
    return [found for cls in base.__subclasses__() for found in (cls, *_problems(cls))]


def test_types_are_unique_and_drawn_in_the_module() -> None:
    slugs = [problem.slug for problem in _problems(Problem)]
    assert len(slugs) == len(set(slugs))
    drawing = inspect.getdoc(errors) or ""
    for problem in _problems(Problem):
        line = next(line for line in drawing.splitlines() if f" {problem.__name__} " in line)
        assert line.split()[-2:] == [str(problem.status), f"urn:problem:{problem.slug}"]


def test_503_says_when_to_come_back() -> None:
    assert Unavailable("x", retry_after_seconds=7).headers == {"Retry-After": "7"}


class Held:
    """What a route has in hands."""


def test_an_error_lets_go_what_the_frames_that_it_came_through_held() -> None:
    held: list[weakref.ref[Held]] = []

    def cause() -> None:
        inner = Held()
        held.append(weakref.ref(inner))
        raise ValueError("why")

    def route() -> None:
        outer = Held()
        held.append(weakref.ref(outer))
        try:
            cause()
        except ValueError:
            raise Unavailable("no") from None

    with pytest.raises(Unavailable) as raised:
        route()
    forget_locals(raised.value)
    gc.collect()
    assert [found() for found in held] == [None, None]
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-1] == "route", "the log still says where it happened"


@pytest.mark.parametrize("error", [Unavailable("no"), ValueError("why")])
def test_nothing_that_a_route_held_waits_for_the_client_to_take_the_answer(error: Exception) -> None:
    held: list[weakref.ref[Held]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = Held()
        held.append(weakref.ref(body))
        raise error

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        gc.collect()
        left.append(held[0]())

    left: list[Held | None] = []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(Middleware(app, Lifecycle())(scope, receive, send))
    assert left
    assert set(left) == {None}
