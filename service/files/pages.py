"""``GET /arquivos``: a page of the names of the files, as JSON or, for people and for what walks links, as HTML.

``/arquivos/`` is the same with HTML as what is answered where ``Accept`` leaves the choice: it is what rclone's http
backend, ``wget -r`` and their like ask for, with the slash and without that field.
"""

from __future__ import annotations

import time
from html import escape
from urllib.parse import parse_qs, quote

from starlette.types import Scope, Send

from service.files import ids
from service.files.store import FileStore
from service.http.asgi import answer, answer_json, header
from service.http.digests import policy_source
from service.http.errors import BadRequest
from service.http.negotiation import choose
from service.thread_pool import ThreadPool

PAGE_LIMIT = 1000

_JSON, _HTML = "application/json", "text/html"
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.6 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
ul { list-style: none; padding: 0 }
li { display: flex; flex-wrap: wrap; gap: 0 2rem; justify-content: space-between; font-variant-numeric: tabular-nums }
a { overflow-wrap: anywhere }
time { opacity: .7 }
"""
_POLICY = f"default-src 'none'; style-src '{policy_source(_STYLE)}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Pages:
    """``readers`` are threads for the file system alone."""

    def __init__(self, store: FileStore, readers: ThreadPool) -> None:
        self._store = store
        self._readers = readers

    async def answer(self, scope: Scope, send: Send) -> None:
        """Answers a GET or HEAD. Raises BadRequest for a page that can't be."""
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        limit = _limit(query.get("limit", [None])[-1])
        after = None
        if (given := query.get("after", [None])[-1]) is not None and (after := ids.parse(given)) is None:
            raise BadRequest(f"after is {given!r}; allowed: a name from an earlier page")
        found = await self._readers.run(self._store.page, after, limit + 1)
        names = [f"{file_id}.txt" for file_id in found[:limit]]
        following = f"?limit={limit}&after={quote(names[-1])}" if len(found) > limit else None
        headers = [(b"cache-control", b"no-store"), (b"vary", b"Accept")]
        if following is not None:
            headers.append((b"link", f'</arquivos{following}>; rel="next"'.encode()))
        is_folder = scope["path"].endswith("/")
        if choose(header(scope, b"accept"), (_HTML, _JSON) if is_folder else (_JSON, _HTML)) == _JSON:
            content: dict[str, object] = {"files": names}
            if following is not None:
                content["next"] = names[-1]
            await answer_json(send, 200, content, headers)
            return
        body = render(names, following, is_first=after is None, folder="" if is_folder else "arquivos/").encode()
        headers += [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"content-security-policy", _POLICY.encode()),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await answer(send, 200, headers, body)


def render(names: list[str], following: str | None, *, is_first: bool, folder: str) -> str:
    """The page of ``names``, in HTML. ``folder`` leads to the files from where the page is, ``following`` to the next one.

    All links are relative, so that the page works behind any prefix.
    """
    items = "\n".join(_item(name, folder) for name in names)
    steps = [] if is_first else ['<a href="?">First page</a>']
    if following is not None:
        steps.append(f'<a rel="next" href="{escape(following)}">Next page</a>')
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Files</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Files</h1>
<ul>
{items or "<li>There are none.</li>"}
</ul>
<nav>{" ".join(steps)}</nav>
</body>
</html>
"""


def _item(name: str, folder: str) -> str:
    # What a browser and a person need; the names of this store have nothing to escape.
    safe = escape(quote(name))
    stored = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ids.created(name)))
    return f'<li><a href="{folder}{safe}">{safe}</a> <time datetime="{stored}Z">{stored} UTC</time></li>'


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_LIMIT
    limit = int(given) if given.isascii() and given.isdigit() and len(given) <= 4 else 0
    if not 1 <= limit <= PAGE_LIMIT:
        raise BadRequest(f"limit is {given!r}; allowed: a whole number from 1 to {PAGE_LIMIT}")
    return limit
