"""Places for messages in work: so many at a time, and fewer when they are large."""

from __future__ import annotations

import threading


class Capacity:
    """At most ``messages``, and at most as many as fit into ``memory_bytes`` when each is as large as those of late."""

    def __init__(self, messages: int, memory_bytes: int) -> None:
        self._messages = messages
        self._memory_bytes = memory_bytes
        self._largest_bytes = 1
        self._taken = 0
        self._wanted = 1
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    def take(self, most: int, *, first_seconds: float, rest_seconds: float) -> int:
        """Takes up to ``most`` places and returns how many: 0 if there is none within ``first_seconds``.

        A call costs the same for one message as for ten, so it waits ``rest_seconds`` for all ``most``, no longer: what
        takes its time must not hold up what could begin.
        """
        # One at a time, or those who wait would share what comes free and each make a call for little.
        if not self._turn.acquire(timeout=first_seconds):
            return 0
        try:
            with self._changed:
                self._wait(1, first_seconds)
                self._wait(min(most, self.limit), rest_seconds)
                count = max(0, min(most, self.limit - self._taken))
                self._taken += count
                return count
        finally:
            self._turn.release()

    def give(self, count: int = 1) -> None:
        with self._changed:
            self._taken -= count
            if self.limit - self._taken >= self._wanted:
                self._changed.notify()

    def note_size(self, largest_bytes: int) -> None:
        """``largest_bytes`` is what the largest message of the last call takes in memory; what was larger fades."""
        with self._changed:
            self._largest_bytes = max(1, largest_bytes, self._largest_bytes * 7 // 8)

    @property
    def limit(self) -> int:
        """How many places there are now."""
        return max(1, min(self._messages, self._memory_bytes // self._largest_bytes))

    def _wait(self, places: int, seconds: float) -> None:
        if self.limit - self._taken < places:
            # Wakes for as many as are wanted and not for each that comes free.
            self._wanted = places
            self._changed.wait_for(lambda: self.limit - self._taken >= places, seconds)
            self._wanted = 1
