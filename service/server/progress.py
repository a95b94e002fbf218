"""Whether a client is too slow, told by looking now and then."""

from __future__ import annotations


class SendProgress:
    """Of what waits for a client."""

    def __init__(self) -> None:
        self._seen: tuple[int, ...] = ()
        self._since = 0.0

    def stands_still(self, now: float, seen: tuple[int, ...], seconds: float) -> bool:
        """Whether ``seen``, which any progress changes, has been the same for ``seconds``; empty if nothing waits."""
        if not seen or seen != self._seen:
            self._seen, self._since = seen, now
            return False
        return now - self._since >= seconds


class ReceiveRate:
    """Of a body, in bytes a second, over the time in which the application waits for it."""

    def __init__(self) -> None:
        self._received = 0
        self._waited = 0.0

    def is_below(self, least: float, received: int, waited: float, seconds: float) -> bool:
        """Whether less than ``least`` arrived in the last ``seconds``; both counts are those since the body began."""
        bytes_arrived, waited_since = received - self._received, waited - self._waited
        if waited_since < seconds:
            return False
        self._received, self._waited = received, waited
        return bytes_arrived < least * waited_since
