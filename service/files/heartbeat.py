"""The heartbeat of this process's uploads: a thread that does nothing else.

Elsewhere it would wait its turn: in a pool behind uploads, on the event loop behind requests. And when it comes late, other
processes take this one for dead and remove its uploads under way.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from service.files.parts import BEAT_SECONDS

_log = logging.getLogger("service.heartbeat")


class HeartbeatThread:
    """Calls ``beat`` every ``seconds`` until it is closed. What that raises is logged, and the next one comes all the same."""

    def __init__(self, beat: Callable[[], None], seconds: float = BEAT_SECONDS) -> None:
        self._beat = beat
        self._seconds = seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Blocks, but no longer than ``timeout_seconds``: a beat that hangs must not keep the process from ending."""
        self._closing.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            try:
                self._beat()
            except Exception as error:
                fields = {"reason": str(error) or type(error).__name__}
                _log.warning("the store does not take the heartbeat", extra={"fields": fields})
