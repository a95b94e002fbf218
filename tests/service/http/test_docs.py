from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from service.http.docs import DocsRoutes, operations, render
from service.http.openapi import describe
from tests.service.harness import Api, running_api, settings

DESCRIPTION = describe(settings(Path("/x"), files_auth="token"))
TEMPLATE = Path(__file__).parents[3] / "service" / "http" / "docs.html"
VOID = {"meta", "input", "br", "hr", "link", "img"}


class Page(HTMLParser):
    """A page's elements, with a check that each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, self.getpos()

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path, files_auth="token") as found:
        yield found


@pytest.fixture
def text(api: Api) -> str:
    answer = api.client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return str(answer.text)


def test_nothing_is_loaded_from_anywhere(text: str) -> None:
    for _, attributes in Page(text).elements:
        assert not {"src", "srcset", "action", "background", "poster"} & attributes.keys()
        if "href" in attributes:
            assert attributes["href"] == "/openapi.json" or attributes["href"].startswith("#")
    assert not re.findall(r"@import|url\(|import\(|https?://(?!api\.example)", text)
    assert Page(text).all("link") == []


def test_the_policy_allows_the_pages_own_style_and_script_and_no_other(api: Api) -> None:
    answer = api.client.get("/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    for element in ("style", "script"):
        (content,) = re.findall(f"<{element}[^>]*>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"
    for _, attributes in Page(answer.text).elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_every_operation_is_on_the_page_with_all_that_the_description_says(text: str) -> None:
    page = Page(text)
    sections = dict(re.findall(r'<section class="operation" id="(\w+)">(.*?)</section>', text, re.DOTALL))
    found = list(operations(DESCRIPTION))
    assert sections.keys() == {operation["operationId"] for _, _, operation in found}
    assert {f"#{name}" for name in sections} <= {attributes["href"] for attributes in page.all("a")}
    for path, method, operation in found:
        shown = unescape(re.sub(r"<[^>]+>", "", sections[operation["operationId"]]))
        assert shown.startswith(f"{method.upper()}{path}{operation['summary']}")
        for status in operation["responses"]:
            assert f">{status}</b>" in sections[operation["operationId"]]
        for parameter in operation["parameters"]:
            name = DESCRIPTION["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]["name"]
            assert f"<code>{name}</code>" in sections[operation["operationId"]]


def test_every_member_of_a_body_is_shown(text: str) -> None:
    for name in ("email_timestream", "message_id", "sha256", "next", "instance", "field"):
        assert f"<li><code>{name}</code>" in text


def test_each_operation_has_a_command_line_that_a_shell_reads(text: str) -> None:
    lines = [unescape(line) for line in re.findall(r'<div class="curl"><pre><code>(.*?)</code>', text, re.DOTALL)]
    assert len(lines) == len(list(operations(DESCRIPTION)))
    for line, (path, method, _) in zip(lines, operations(DESCRIPTION), strict=True):
        words = shlex.split(line)
        assert words[0] == "curl"
        (address,) = (word for word in words if word.startswith("https://api.example"))
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), address.removeprefix("https://api.example"))
        expected = {"get": [], "head": ["--head"]}.get(method, ["-X", method.upper()])
        assert words[1 : 1 + len(expected)] == expected
    assert sum("Bearer <token>" in line for line in lines) == 6


def test_what_the_description_says_can_not_become_markup() -> None:
    bad = "</code><script>alert(1)</script>`<b>`"
    description: dict[str, Any] = {
        "info": {"title": bad, "version": bad, "description": bad},
        "tags": [{"name": bad}],
        "paths": {
            f"/{bad}": {
                "post": {
                    "tags": [bad],
                    "operationId": "x",
                    "summary": bad,
                    "parameters": [{"name": bad, "in": "query", "description": bad, "schema": {"enum": [bad]}}],
                    "requestBody": {"content": {bad: {"schema": {}, "examples": {bad: {"value": {bad: bad}}}}}},
                    "responses": {"200": {"description": bad, "headers": {bad: {"description": bad}}}},
                }
            }
        },
    }
    page = render(description, TEMPLATE.read_text())
    assert page.count("<script>") == 1
    assert "<b>" not in page
    Page(page)


def test_the_page_is_rendered_once(api: Api) -> None:
    assert api.client.get("/docs").content == api.client.get("/docs").content
    assert len(DocsRoutes(DESCRIPTION).routes()) == 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "/docs"),
        ("?", "/docs"),
        ("?a=b%20c&d=e", "/docs?a=b%20c&d=e"),
        ("?//evil.example/", "/docs?//evil.example/"),
    ],
)
def test_the_root_leads_to_the_page_with_its_query_and_to_nowhere_else(api: Api, query: str, expected: str) -> None:
    for method in ("GET", "HEAD"):
        answer = api.client.request(method, f"/{query}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, expected)
    assert api.client.get(f"/{query}").content == api.client.get("/docs").content
    assert api.client.post(f"/{query}", follow_redirects=False).status_code == 405
