"""The process of a stand-in provider: it serves the engine that has started it, and no longer."""

from __future__ import annotations

import os
import sys
import threading
import time

from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import main

_LOOK_SECONDS = 1.0


def serve(provider: Provider, version: str) -> None:
    """Serves until the engine ends it, or is gone itself: a killed engine says nothing."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    main(sys.argv[1:], version, provider)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(0)
