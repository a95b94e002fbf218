from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.routing import Route

from service.api.app import create_router
from service.files import ids
from service.files.store import FileStore
from service.http import errors
from service.http.lifecycle import Lifecycle
from service.http.openapi import describe
from service.http.tokens import Tokens
from service.telemetry.metrics import Metrics
from service.thread_pool import ThreadPool
from tests.service.described import Described
from tests.service.harness import Api, running_api, settings
from tests.service.memory import MemoryParameter, MemoryQueue

METHODS = {"get", "head", "post", "put", "patch", "delete", "options", "trace"}
DESCRIPTION = describe(settings(Path("/x"), files_auth="token"))


def described(description: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, name) for path, item in description["paths"].items() for name in item if name in METHODS}


def problems(root: type[errors.Problem] = errors.Problem) -> Iterator[type[errors.Problem]]:
    for child in root.__subclasses__():
        yield child
        yield from problems(child)


def routes(root: Path) -> list[Route]:
    threads = ThreadPool("aws", 1)
    router = create_router(
        settings(root),
        store=FileStore(root),
        outbox=MemoryQueue(),
        tokens=Tokens(MemoryParameter("x"), threads),
        aws_threads=threads,
        lifecycle=Lifecycle(),
        metrics=Metrics("api"),
    )
    found = [route for route in router.routes if isinstance(route, Route)]
    assert len(found) == len(router.routes)
    return found


def schemas_with_examples(found: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any], Any]]:
    if isinstance(found, dict):
        if "schema" in found:
            if "example" in found:
                yield path, found["schema"], found["example"]
            for name, example in found.get("examples", {}).items():
                yield f"{path}/{name}", found["schema"], example["value"]
        for name, inner in found.items():
            yield from schemas_with_examples(inner, f"{path}/{name}")


@pytest.mark.parametrize("files_auth", ["token", "none"])
def test_the_description_is_valid_openapi(files_auth: str) -> None:
    description = describe(settings(Path("/x"), files_auth=files_auth))
    assert description["openapi"].startswith("3.1.")
    validate(description)


def test_what_is_served_is_the_description_of_this_configuration(tmp_path: Path) -> None:
    for files_auth in ("token", "none"):
        with running_api(tmp_path, files_auth=files_auth, files_max_bytes=1234) as api:
            answer = api.client.get("/openapi.json")
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == describe(settings(tmp_path, files_auth=files_auth, files_max_bytes=1234))
            assert "At most 1234 bytes" in answer.text


def test_every_route_is_described_and_every_described_one_exists(tmp_path: Path) -> None:
    there = {(route.path, method.lower()) for route in routes(tmp_path) for method in route.methods or METHODS}
    # HEAD comes with GET; only where it is more than that is it described.
    heads = {(path, method) for path, method in there if method == "head"} - described(DESCRIPTION)
    assert all((path, "get") in there for path, _ in heads)
    assert there - heads == described(DESCRIPTION)


@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_a_method_that_is_not_described_is_answered_405_with_those_that_are(api: Api, path: str) -> None:
    methods = {method.upper() for found, method in described(DESCRIPTION) if found == path}
    answer = api.client.request("TRACE", path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == methods | ({"HEAD"} if "GET" in methods else set())


def test_every_problem_is_described_with_its_status_and_type() -> None:
    expected = {(found.status, f"urn:problem:{found.slug}") for found in problems()}
    shown = set()
    for response in DESCRIPTION["components"]["responses"].values():
        (_, narrowed) = response["content"][errors.MEDIA_TYPE]["schema"]["allOf"]
        status = narrowed["properties"]["status"]["const"]
        shown |= {(status, name) for name in narrowed["properties"]["type"]["enum"]}
    assert shown == expected
    types = DESCRIPTION["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert set(types) == {name for _, name in expected}


def test_every_error_answer_stands_under_its_own_status_and_uses_the_common_shape() -> None:
    for path, item in DESCRIPTION["paths"].items():
        for method in METHODS & item.keys():
            for status, response in item[method]["responses"].items():
                if status < "400" or method == "head":
                    continue
                found = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
                narrowed = found["content"][errors.MEDIA_TYPE]["schema"]["allOf"][1]["properties"]
                assert str(narrowed["status"]["const"]) == status, (path, method)


def test_every_answer_has_a_request_id_and_every_503_says_when_to_try_again() -> None:
    components = DESCRIPTION["components"]
    for path, item in DESCRIPTION["paths"].items():
        for method in METHODS & item.keys():
            for status, response in item[method]["responses"].items():
                name = response.get("$ref", "").rpartition("/")[2]
                headers = components["responses"][name]["headers"] if name else response["headers"]
                assert "X-Request-ID" in headers, (path, method, status)
                assert ("Retry-After" in headers) == (status == "503"), (path, method, status)


def test_every_example_is_what_its_schema_allows() -> None:
    found = list(schemas_with_examples(DESCRIPTION))
    assert len(found) > 40
    for path, schema, example in found:
        whole = {**copy.deepcopy(schema), "components": DESCRIPTION["components"]}
        checked = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        assert not list(checked.iter_errors(example)), path


def test_every_component_is_used() -> None:
    text = json.dumps(DESCRIPTION)
    # Any path may answer 405, to a method that it has not; so no operation can. What can't be read has no path.
    unused = {
        f"{kind}/{name}"
        for kind, parts in DESCRIPTION["components"].items()
        for name in parts
        if kind != "securitySchemes" and f'"#/components/{kind}/{name}"' not in text
    }
    assert unused == {"responses/MethodNotAllowed", "responses/HeadTooLarge", "responses/VersionNotSupported"}


@pytest.mark.parametrize(
    ("method", "path", "status", "change"),
    [
        ("GET", "/arquivos/x", 418, {}),
        ("GET", "/arquivos/x", 201, {}),
        ("PUT", "/arquivos/x", 200, {}),
        ("GET", "/elsewhere", 200, {}),
        ("HEAD", "/health", 404, {}),
        ("GET", "/arquivos/x", 404, {"content-type": "text/plain"}),
        ("GET", "/arquivos/x", 404, {"x-request-id": "a b"}),
        ("GET", "/arquivos/x", 401, {}),
    ],
)
def test_an_answer_that_is_not_described_is_found(method: str, path: str, status: int, change: dict[str, str]) -> None:
    good = {"content-type": errors.MEDIA_TYPE, "X-Request-ID": "a"}
    described_ = Described(DESCRIPTION)
    described_.check("GET", "/arquivos/x", 404, good.items())
    described_.check("PUT", "/arquivos/x", 405, good.items())
    described_.check("HEAD", "/health", 200, good.items())
    with pytest.raises(AssertionError):
        described_.check(method, path, status, {**{k.lower(): v for k, v in good.items()}, **change}.items())


def test_open_files_need_no_token_and_never_answer_401() -> None:
    open_files = describe(settings(Path("/x"), files_auth="none"))
    for path in ("/arquivos", "/arquivos/{name}"):
        for method in METHODS & open_files["paths"][path].keys():
            assert open_files["paths"][path][method]["security"] == []
            assert "401" not in open_files["paths"][path][method]["responses"]
            assert DESCRIPTION["paths"][path][method]["security"] == [{"bearer": []}]
            assert "401" in DESCRIPTION["paths"][path][method]["responses"]
    assert open_files["paths"]["/ingest"] == DESCRIPTION["paths"]["/ingest"]


def test_descriptions_do_not_share_what_they_change() -> None:
    small = describe(settings(Path("/x"), files_max_bytes=1))
    assert "At most 1 bytes" in json.dumps(small)
    assert "At most 1 bytes" not in json.dumps(describe(settings(Path("/x"))))


def test_names_in_the_description_match_what_the_service_takes() -> None:
    pattern = re.compile(DESCRIPTION["components"]["parameters"]["Name"]["schema"]["pattern"])
    source = ids.IdSource()
    for _ in range(100):
        name = source.next()
        for given in (name, f"{name}.txt", name.upper()):
            assert pattern.fullmatch(given)
            assert ids.parse(given) == name
