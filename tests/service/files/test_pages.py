from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from service.files.pages import render
from tests.service.harness import TOKEN, Api, running_api

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Links(HTMLParser):
    """The targets of a page's links, and the elements of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.next: str | None = None
        self.elements: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on") or name in ("style", "src")]
        if tag == "a":
            self.hrefs.append(found["href"] or "")
            if found.get("rel") == "next":
                self.next = found["href"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as found:
        yield found


@pytest.fixture
def names(api: Api) -> list[str]:
    ids = [api.client.post("/arquivos", content=bytes(size)).json()["id"] for size in range(5)]
    return [f"{file_id}.txt" for file_id in ids]


def test_names_stay_json_unless_html_is_preferred_and_caches_are_told(api: Api, names: list[str]) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "image/png"}):
        answer = api.client.get("/arquivos", headers=headers or {"Accept": ""})
        assert (answer.headers["content-type"], answer.headers["vary"]) == ("application/json", "Accept")
        assert answer.json() == {"files": names}
    answer = api.client.get("/arquivos/", headers={"Accept": "application/json, text/html;q=0.9"})
    assert answer.json() == {"files": names}
    # Two lines are one list.
    lines = [("Accept", "application/json;q=0.5"), ("Accept", "text/html")]
    browsers: list[tuple[str, Any]] = [
        ("/arquivos", HTML),
        ("/arquivos", lines),
        ("/arquivos/", HTML),
        ("/arquivos/", {}),
    ]
    for path, asked in browsers:
        answer = api.client.get(path, headers=asked or {"Accept": "*/*"})
        assert (answer.headers["content-type"], answer.headers["vary"]) == ("text/html; charset=utf-8", "Accept")
        assert answer.headers["cache-control"] == "no-store"
        head = api.client.head(path, headers=asked or {"Accept": "*/*"})
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]


@pytest.mark.parametrize("path", ["/arquivos", "/arquivos/"])
def test_a_browser_walks_all_files_page_by_page(api: Api, names: list[str], path: str) -> None:
    address, seen = f"http://testserver{path}?limit=2", []
    pages = 0
    while True:
        answer = api.client.get(address, headers=HTML)
        pages += 1
        links = Links(answer.text)
        for href in links.hrefs:
            if not href.startswith("?"):
                target = urljoin(address, href)
                assert api.client.get(target).status_code == 200
                seen.append(urlsplit(target).path)
        assert ("?" in links.hrefs) == (pages > 1)
        assert ("link" in answer.headers) == (links.next is not None)
        if links.next is None:
            break
        address = urljoin(address, links.next)
    assert seen == [f"/arquivos/{name}" for name in names]
    assert pages == 3


def test_what_rclone_reads_off_the_page_are_the_files(api: Api, names: list[str]) -> None:
    # Its http backend (v1.76, backend/http) asks for the folder, with a slash at the end and without Accept, wants
    # text/html, and takes links to one level below that have no query; then HEAD tells it size and time of each.
    del api.client.headers["Accept"]
    base = "http://testserver/arquivos/"
    answer = api.client.get(base)
    assert answer.headers["content-type"].partition(";")[0] == "text/html"
    targets = [urljoin(base, href) for href in Links(answer.text).hrefs]
    found = [target.removeprefix(base) for target in targets if "?" not in target and target.startswith(base)]
    assert found == names
    for size, name in enumerate(found):
        head = api.client.head(base + name)
        assert (head.status_code, head.headers["content-length"]) == (200, str(size))
        assert "last-modified" in head.headers


def test_the_page_runs_nothing_and_loads_nothing(api: Api, names: list[str]) -> None:
    answer = api.client.get("/arquivos/?limit=1")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.pop("style-src") == f"'sha256-{digest}'"
    assert policy == dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not Links(answer.text).elements & {"script", "link", "img", "iframe", "form", "base"}
    assert "url(" not in answer.text and "@import" not in answer.text


def test_what_a_name_has_can_not_become_markup() -> None:
    # No file has such a name; the page does not rely on it.
    bad = "01978a3b-2c1d-7000-8000-00000000000\"><script>&'?#/../%2e ü.txt"
    page = render([bad], f"?after={bad}".replace('"', "%22"), is_first=True, folder="")
    assert Links(page).elements == {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "ul",
        "li",
        "a",
        "time",
        "nav",
    }
    href = Links(page).hrefs[0]
    assert re.fullmatch(r"[\w%./-]+", href, re.ASCII)


def test_an_empty_store_says_so(api: Api) -> None:
    page = api.client.get("/arquivos/").text
    assert "There are none." in page
    assert Links(page).hrefs == []


def test_a_page_that_can_not_be_is_400_and_nobody_reads_names_without_the_token(tmp_path: Path) -> None:
    with running_api(tmp_path, files_auth="token") as api:
        assert api.client.get("/arquivos/", headers=HTML).status_code == 401
        token = {b"Authorization": f"Bearer {TOKEN}".encode(), b"Accept": b"text/html"}
        assert api.client.get("/arquivos/", headers=token).status_code == 200
        assert api.client.get("/arquivos/?limit=0", headers=token).status_code == 400
        assert api.client.get("/arquivos?after=x", headers=token).status_code == 400
        assert api.client.post("/arquivos/", headers=token, content=b"x").status_code == 405
