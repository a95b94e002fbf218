"""How long to leave something alone that has failed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

LONGEST_PAUSE_SECONDS = 30.0


class Backoff:
    """Doubles with each failure in a row up to ``longest_seconds``, jittered; ends with the first success.

    Failures while a pause lasts are the one that began it: a hundred calls under way fail together.
    """

    def __init__(
        self,
        longest_seconds: float,
        *,
        shortest_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),
    ) -> None:
        self._longest_seconds = longest_seconds
        self._shortest_seconds = shortest_seconds
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    def failed(self) -> None:
        with self._lock:
            now = self._clock()
            if now < self._until:
                return
            seconds = min(self._longest_seconds, self._shortest_seconds * 2.0 ** min(self._failures, 20))
            self._failures += 1
            self._until = now + seconds * self._jitter()

    def worked(self) -> None:
        if self._failures:  # the common case takes no lock
            with self._lock:
                self._failures = 0
                self._until = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last thing that is known is a failure, also once the pause is over."""
        return self._failures > 0

    @property
    def seconds(self) -> float:
        """What is left of the pause."""
        return max(0.0, self._until - self._clock())
