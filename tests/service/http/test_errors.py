"""Every error is ``application/problem+json`` with ``type``, ``title``, ``status``, ``detail`` and ``instance``."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from service.http import errors
from service.http.errors import Problem, Unavailable
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
