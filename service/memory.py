"""In-memory twins of what lives on AWS: the same promises, no network. For tests and for trying things out."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from service.queues import Accepted, Incoming, Outgoing, QueueAway, Refused


@dataclass(slots=True)
class _Kept:
    message: Incoming
    visible_at: float = 0.0


class MemoryQueue:
    """Both ends of a queue. ``away`` makes every call fail; ``refuse`` and ``keep`` make single messages fail."""

    def __init__(self, *, visibility_seconds: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self.away = False
        self.refuse: Callable[[Outgoing], bool] = lambda _: False
        self.keep: Callable[[Incoming], bool] = lambda _: False
        self.sent_batches: list[list[Outgoing]] = []
        self.deleted: list[Incoming] = []
        self.hidden: list[tuple[str, int]] = []
        self._visibility_seconds = visibility_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._receipts = itertools.count(1)

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
        self._fail_if_away()
        with self._lock:
            self.sent_batches.append(list(messages))
            return [self._take_in(message) for message in messages]

    def receive(self, limit: int) -> list[Incoming]:
        self._fail_if_away()
        with self._lock:
            now = self._clock()
            found = [kept for kept in self._kept.values() if kept.visible_at <= now][:limit]
            for kept in found:
                kept.visible_at = now + self._visibility_seconds
                count = kept.message.receive_count + 1
                kept.message = replace(kept.message, receive_count=count, receipt=f"receipt-{next(self._receipts)}")
        if not found:
            time.sleep(0.005)
        return [kept.message for kept in found]

    def delete(self, messages: Sequence[Incoming]) -> list[Incoming]:
        self._fail_if_away()
        with self._lock:
            failed = [message for message in messages if self.keep(message)]
            for message in messages:
                if message not in failed:
                    self._kept.pop(message.message_id, None)
                    self.deleted.append(message)
        return failed

    def hide(self, messages: Sequence[Incoming], seconds: int) -> list[Incoming]:
        self._fail_if_away()
        with self._lock:
            failed = [message for message in messages if message.message_id not in self._kept]
            for message in messages:
                self.hidden.append((message.message_id, seconds))
                if message not in failed:
                    self._kept[message.message_id].visible_at = self._clock() + seconds
        return failed

    def _take_in(self, message: Outgoing) -> Accepted | Refused:
        if self.refuse(message):
            return Refused("InternalError", "refused on request")
        message_id = str(uuid.uuid4())
        sent = time.time_ns() // 1_000_000
        incoming = Incoming(message_id, "", message.body, sent, 0, message.object_name)
        self._kept[message_id] = _Kept(incoming)
        return Accepted(message_id)

    def _fail_if_away(self) -> None:
        if self.away:
            raise QueueAway("Away")


@dataclass(slots=True)
class MemoryBucket:
    """A bucket; ``fail`` may raise StoreFailed for a key."""

    objects: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    fail: Callable[[str], None] = lambda _: None

    def put(self, key: str, content: bytes) -> None:
        self.puts.append(key)
        self.fail(key)
        self.objects[key] = content


@dataclass(slots=True)
class MemoryParameter:
    """A secret value; ``error`` makes reading it fail, ``before`` is the value before it and the seconds since."""

    value: str
    error: Exception | None = None
    reads: int = 0
    before: tuple[str, float] | None = None

    def get(self) -> str:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.value

    def previous(self) -> tuple[str, float] | None:
        return self.before
