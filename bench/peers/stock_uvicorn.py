"""This service behind the HTTP protocol that uvicorn brings along, in place of its own: what that one is worth.

Its routes run unchanged, without the extensions for large bodies.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import uvicorn

_Config = uvicorn.Config


def _stock(*arguments: Any, **settings: Any) -> uvicorn.Config:
    return _Config(*arguments, **settings | {"http": "httptools"})


if __name__ == "__main__":
    # Before the service is imported: it asks for the class by this name.
    uvicorn.Config = _stock  # type: ignore[assignment,misc]

    from service.api.run import run_api
    from service.settings import ApiSettings

    sys.exit(run_api(ApiSettings.from_env(os.environ)))
