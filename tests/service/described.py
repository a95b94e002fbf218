"""Holds every answer that a test gets against the description: an answer that it does not have is a test that fails."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from service.http.docs import operations
from service.http.errors import MEDIA_TYPE


class Described:
    def __init__(self, description: dict[str, Any]) -> None:
        """``description`` is what ``openapi.describe`` returns."""
        self._components = description["components"]
        self._operations = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), method.upper(), operation["responses"])
            for path, method, operation in operations(description)
        ]

    def check(self, method: str, path: str, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Raises AssertionError unless the description has this answer, with all of its headers that are required."""
        responses = self._responses(method, path)
        if responses is None:
            assert status in (404, 405, 501, 503), f"{method} {path} is not described, and answers {status}"
            return
        assert str(status) in responses, f"{method} {path} answers {status}; described: {', '.join(responses)}"
        response = self._resolve(responses[str(status)])
        given = {name.lower(): value for name, value in headers}
        for name, header in response.get("headers", {}).items():
            if not self._resolve(header).get("required"):
                continue
            assert name.lower() in given, f"{method} {path} answers {status} without {name}"
            pattern = self._resolve(header)["schema"].get("pattern", "")
            assert re.search(pattern, given[name.lower()]), f"{name} is {given[name.lower()]!r}"
        if status >= 400:
            assert given["content-type"] == MEDIA_TYPE, f"{method} {path} answers {status} as {given['content-type']}"

    def _responses(self, method: str, path: str) -> dict[str, Any] | None:
        # HEAD is answered wherever GET is.
        for wanted in (method, "GET") if method == "HEAD" else (method,):
            for pattern, found, responses in self._operations:
                if found == wanted and pattern.fullmatch(path):
                    return dict(responses)
        return None

    def _resolve(self, found: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in found:
            return found
        _, _, kind, name = found["$ref"].split("/")
        resolved: dict[str, Any] = self._components[kind][name]
        return resolved
