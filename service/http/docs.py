"""``GET /docs``, to which ``/`` leads: the API's description as a page for people.

Rendered here, from the description alone, and not by a well-known viewer. Swagger UI would do under the same
Content-Security-Policy, but it is 1.9 MB of script and style that no kept Python package carries without a framework: it
would have to be vendored, and updated by hand whenever it has a hole. It also shows nothing without script, and Scalar,
4.4 MB, wants inline styles allowed. This page is readable without any script, loads nothing, and its policy names its own
style and script by hash; the script only copies lines and sends the requests of the forms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from service.http.digests import policy_source

METHODS = ("get", "head", "post", "put", "patch", "delete")
# Stands for this service in the curl lines; the script puts the address of the page in its place.
_BASE = "https://api.example"
_TEMPLATE = Path(__file__).with_name("docs.html")
_CODE = re.compile("`([^`]+)`")

Json = dict[str, Any]


class DocsRoutes:
    def __init__(self, description: Json) -> None:
        """``description`` is what ``openapi.describe`` returns. Reads a file."""
        self._description = description
        self._template = _TEMPLATE.read_text(encoding="utf-8")
        self._page: bytes | None = None
        self._headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": _policy(self._template),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    def routes(self) -> list[BaseRoute]:
        return [Route("/docs", self._docs), Route("/", self._root)]

    async def _root(self, request: Request) -> Response:
        # Relative: behind a load balancer that ends TLS, the scheme of this request is not the client's. Temporary: there
        # may be another page for people one day.
        query = request.url.query
        return RedirectResponse(f"/docs?{query}" if query else "/docs")

    async def _docs(self, _: Request) -> Response:
        # A few milliseconds, which a start need not wait for.
        if self._page is None:
            self._page = render(self._description, self._template).encode()
        return Response(self._page, headers=self._headers, media_type="text/html")


def operations(description: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, method and operation of each operation; its parameters are followed by those of its path."""
    for path, item in description["paths"].items():
        for method in METHODS:
            if method in item:
                parameters = [*item[method].get("parameters", []), *item.get("parameters", [])]
                yield path, method, {**item[method], "parameters": parameters}


def render(description: Json, template: str) -> str:
    """The page of ``description``."""
    info = description["info"]
    page = _Page(description)
    return (
        template.replace("<!-- title -->", escape(info["title"]))
        .replace("<!-- navigation -->", page.navigation())
        .replace("<!-- content -->", page.content())
    )


class _Page:
    def __init__(self, description: Json) -> None:
        self._description = description
        self._operations = list(operations(description))

    def navigation(self) -> str:
        groups = []
        for tag in self._description["tags"]:
            items = "".join(
                f'<li><a href="#{escape(op["operationId"])}">{_method(method)}<span>{escape(op["summary"])}</span></a></li>'
                for _, method, op in self._tagged(tag["name"])
            )
            groups.append(f"<h2>{escape(tag['name'])}</h2><ul>{items}</ul>")
        return "\n".join(groups)

    def content(self) -> str:
        info = self._description["info"]
        parts = [
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            f'<p class="lead">{_text(info["description"])} <a href="/openapi.json">openapi.json</a></p>',
            '<form class="token scripted"><label>Token for the forms below; it stays on this page'
            '<input id="token" type="password" autocomplete="off" spellcheck="false"></label></form>',
        ]
        for tag in self._description["tags"]:
            parts.append(f'<h2>{escape(tag["name"])}</h2><p class="lead">{_text(tag.get("description", ""))}</p>')
            parts += (self._operation(*found) for found in self._tagged(tag["name"]))
        return "\n".join(parts)

    def _tagged(self, tag: str) -> list[tuple[str, str, Json]]:
        return [found for found in self._operations if tag in found[2]["tags"]]

    def _operation(self, path: str, method: str, operation: Json) -> str:
        parameters = [self._resolve(parameter) for parameter in operation["parameters"]]
        parameters.sort(key=lambda parameter: parameter["in"] != "path")
        parts = [
            f'<section class="operation" id="{escape(operation["operationId"])}"><h3>{_method(method)}'
            f'<span class="path">{escape(path)}</span><span class="summary">{escape(operation["summary"])}</span></h3>'
        ]
        if "description" in operation:
            parts.append(f"<p>{_text(operation['description'])}</p>")
        if security := self._security(operation):
            parts.append(f"<p>{security}</p>")
        line = escape(self.curl(path, method, operation, parameters))
        button = '<button type="button" class="scripted">copy</button>'
        parts.append(f'<div class="curl"><pre><code>{line}</code></pre>{button}</div>')
        if parameters:
            parts.append(f'<h4>Parameters</h4><ul class="fields">{"".join(map(self._parameter, parameters))}</ul>')
        if "requestBody" in operation:
            parts.append(self._body(operation["requestBody"]))
        answers = "".join(self._answer(status, answer) for status, answer in operation["responses"].items())
        parts.append(f"<h4>Answers</h4>{answers}")
        parts.append(self._form(path, method, operation, parameters))
        return "".join([*parts, "</section>"])

    def curl(self, path: str, method: str, operation: Json, parameters: list[Json]) -> str:
        """A command line that makes the request, with the examples of what it requires."""
        option = {"get": "", "head": " --head"}.get(method, f" -X {method.upper()}")
        for parameter in parameters:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        words = [f"curl{option} {_BASE}{path}"]
        security = operation.get("security")
        if security and {} not in security:
            words.append("-H 'Authorization: Bearer <token>'")
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if media_type == "application/json":
                example = json.dumps(next(iter(content["examples"].values()))["value"], ensure_ascii=False)
                words += ["-H 'Content-Type: application/json'", f"-d '{example}'"]
            else:
                words += ["-H 'Content-Type: text/plain'", "--data-binary @file.txt"]
        return " \\\n  ".join(words)

    def _security(self, operation: Json) -> str:
        security = operation.get("security")
        if not security:
            return ""
        also = ", or the token in the body" if {} in security else ""
        return f"Needs <code>Authorization: Bearer &lt;token&gt;</code>{also}."

    def _parameter(self, parameter: Json) -> str:
        place = f'<span class="kind">{escape(parameter["in"])}, {_kind(self._resolve(parameter["schema"]))}</span>'
        must = '<span class="must">required</span>' if parameter.get("required") else ""
        example = f" Example: <code>{escape(str(parameter['example']))}</code>" if "example" in parameter else ""
        return f"<li><code>{escape(parameter['name'])}</code>{place}{must}<p>{_text(parameter['description'])}{example}</p></li>"

    def _body(self, body: Json) -> str:
        parts = ["<h4>Body</h4>", f"<p>{_text(body['description'])}</p>" if "description" in body else ""]
        return "".join([*parts, *(self._media(*found) for found in body["content"].items())])

    def _media(self, media_type: str, content: Json) -> str:
        parts = [f"<h5><code>{escape(media_type)}</code></h5>", self._fields(content["schema"])]
        examples = {"Example": {"value": content["example"]}} if "example" in content else content.get("examples", {})
        for name, example in examples.items():
            value = example["value"]
            shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
            parts.append(f"<h5>{escape(example.get('summary', name))}</h5><pre><code>{escape(shown)}</code></pre>")
        return "".join(parts)

    def _answer(self, status: str, answer: Json) -> str:
        answer = self._resolve(answer)
        colour = "good" if status < "400" else "bad"
        headers = "".join(self._header(name, header) for name, header in answer.get("headers", {}).items())
        media = "".join(self._media(*found) for found in answer.get("content", {}).items())
        return (
            f'<details><summary><b class="{colour}">{status}</b>{_text(answer["description"])}</summary><div>{media}'
            f'<h5>Headers</h5><ul class="fields">{headers}</ul></div></details>'
        )

    def _header(self, name: str, header: Json) -> str:
        header = self._resolve(header)
        return f"<li><code>{escape(name)}</code><p>{_text(header['description'])}</p></li>"

    def _fields(self, schema: Json) -> str:
        """The members of an object, nested, or nothing for what has none."""
        properties, required = self._members(schema)
        if not properties:
            return ""
        items = []
        for name, found in properties.items():
            member = self._resolve(found)
            must = '<span class="must">required</span>' if name in required else ""
            text = f"<p>{_text(member['description'])}</p>" if "description" in member else ""
            kind = f'<span class="kind">{_kind(member)}</span>'
            inner = self._fields(self._resolve(member.get("items", member)))
            items.append(f"<li><code>{escape(name)}</code>{kind}{must}{text}{inner}</li>")
        return f'<ul class="fields">{"".join(items)}</ul>'

    def _members(self, schema: Json) -> tuple[Json, set[str]]:
        schema = self._resolve(schema)
        properties: Json = {}
        required: set[str] = set(schema.get("required", ()))
        for part in schema.get("allOf", ()):
            more, also = self._members(part)
            properties |= {name: {**properties.get(name, {}), **member} for name, member in more.items()}
            required |= also
        return properties | schema.get("properties", {}), required

    def _form(self, path: str, method: str, operation: Json, parameters: list[Json]) -> str:
        fields = []
        for parameter in parameters:
            name, required = escape(parameter["name"]), " required" if parameter.get("required") else ""
            fields.append(f'<label>{name}<input name="{name}" data-in="{parameter["in"]}"{required}></label>')
        media_type = ""
        for found, content in operation.get("requestBody", {}).get("content", {}).items():
            media_type = found if found != "*/*" else ""
            value = next(iter(content["examples"].values()))["value"]
            shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
            fields.append(f'<label>Body<textarea data-in="body" spellcheck="false">{escape(shown)}</textarea></label>')
            if found == "*/*":
                fields.append('<label>Or a file<input type="file" data-in="file"></label>')
        secured = ' data-secured="yes"' if operation.get("security") else ""
        return (
            f'<details class="scripted"><summary>Try it</summary><form data-method="{method.upper()}" '
            f'data-path="{escape(path)}" data-type="{escape(media_type)}"{secured}>{"".join(fields)}'
            '<button type="submit">Send</button></form><div class="answer" hidden><pre></pre></div></details>'
        )

    def _resolve(self, found: Json) -> Json:
        while "$ref" in found:
            target = self._description
            for step in found["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            found = target
        return found


def _kind(schema: Json) -> str:
    """What a value may be, in a few words."""
    if "const" in schema:
        return f"always <code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    for choice in ("oneOf", "anyOf"):
        if choice in schema and "type" not in schema:
            return " or ".join(_kind(part) for part in schema[choice])
    words = [schema.get("type", "any"), schema.get("format", "")]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words.append(f"{low} to {high}")
    if "default" in schema:
        words.append(f"(default {schema['default']})")
    return escape(" ".join(word for word in words if word))


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _text(text: str) -> str:
    """Text with `code` in it."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _policy(template: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(template, 'style')}'",
            f"script-src '{_hash(template, 'script')}'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(template: str, element: str) -> str:
    return policy_source(template.partition(f"<{element}>")[2].partition(f"</{element}>")[0])
