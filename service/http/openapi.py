"""``GET /openapi.json``: what the API takes and answers, as OpenAPI 3.1.

``openapi.json`` beside this file is kept by hand and valid by itself; a test holds it against the routes and against
``errors``. What depends on the configuration is set here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from service.settings import ApiSettings

_FILE = Path(__file__).with_name("openapi.json")
_FILES_TAG = "Files"


def describe(settings: ApiSettings) -> dict[str, Any]:
    """The description of the API as ``settings`` make it. Reads a file."""
    description: dict[str, Any] = json.loads(_FILE.read_bytes())
    upload = description["paths"]["/arquivos"]["post"]["requestBody"]
    upload["description"] += f" At most {settings.files_max_bytes} bytes."
    if settings.files_auth == "none":
        for methods in description["paths"].values():
            for operation in methods.values():
                if isinstance(operation, dict) and _FILES_TAG in operation.get("tags", ()):
                    operation["security"] = []
                    operation["responses"].pop("401", None)
    return description


class OpenApiRoutes:
    def __init__(self, description: dict[str, Any]) -> None:
        """``description`` is what ``describe`` returns."""
        self._content = json.dumps(description, ensure_ascii=False).encode()

    def routes(self) -> list[BaseRoute]:
        return [Route("/openapi.json", self._description)]

    async def _description(self, _: Request) -> Response:
        # It changes with a deployment, and then at once.
        headers = {"Cache-Control": "no-cache"}
        return Response(self._content, headers=headers, media_type="application/json")
