"""In-memory twins of what lives on AWS: the same promises, no network. For tests and for trying things out."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from service.aws.queues import Accepted, Failed, Message, Outgoing, QueueAway, Refused


@dataclass(slots=True)
class _Kept:
    message: Message
    visible_at: float = 0.0


class MemoryQueue:
    """Both ends of a queue. ``away`` makes every call fail; ``refuse`` and ``keep`` make single messages fail.

    A message that was received ``most_receives`` times goes to ``dead`` in place of another delivery. ``wall_clock`` gives
    the time of sending, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        visibility_seconds: float = 60,
        most_receives: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.away = False
        self.dead: list[Message] = []
        self.refuse: Callable[[Outgoing], bool] = lambda _: False
        self.keep: Callable[[Message], bool] = lambda _: False
        self.sent_batches: list[list[Outgoing]] = []
        self.deleted: list[Message] = []
        self.hidden: list[tuple[str, int]] = []
        self._visibility_seconds = visibility_seconds
        self._most_receives = most_receives
        self._clock = clock
        self._wall_clock = wall_clock
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

    def receive(self, limit: int) -> list[Message]:
        self._fail_if_away()
        with self._lock:
            now = self._clock()
            self._bury(now)
            found = [kept for kept in self._kept.values() if kept.visible_at <= now][:limit]
            for kept in found:
                kept.visible_at = now + self._visibility_seconds
                count = kept.message.receive_count + 1
                kept.message = replace(kept.message, receive_count=count, receipt=f"receipt-{next(self._receipts)}")
        if not found:
            time.sleep(0.005)
        return [kept.message for kept in found]

    def delete(self, messages: Sequence[Message]) -> list[Failed]:
        self._fail_if_away()
        failed = []
        with self._lock:
            for message in messages:
                if self.keep(message):
                    failed.append(Failed(message, "InternalError", sender_fault=False))
                elif not self._is_latest(message):
                    failed.append(Failed(message, "ReceiptHandleIsInvalid", sender_fault=True))
                else:
                    self._kept.pop(message.message_id, None)
                    self.deleted.append(message)
        return failed

    def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
        self._fail_if_away()
        failed = []
        with self._lock:
            for message in messages:
                self.hidden.append((message.message_id, seconds))
                if message.message_id in self._kept and self._is_latest(message):
                    self._kept[message.message_id].visible_at = self._clock() + seconds
                else:
                    failed.append(Failed(message, "ReceiptHandleIsInvalid", sender_fault=True))
        return failed

    def _is_latest(self, message: Message) -> bool:
        """Whether its receipt is the latest; also when the message is gone, since deleting twice is no failure."""
        kept = self._kept.get(message.message_id)
        return kept is None or kept.message.receipt == message.receipt

    def _bury(self, now: float) -> None:
        if self._most_receives is None:
            return
        for kept in list(self._kept.values()):
            if kept.visible_at <= now and kept.message.receive_count >= self._most_receives:
                self.dead.append(self._kept.pop(kept.message.message_id).message)

    def _take_in(self, message: Outgoing) -> Accepted | Refused:
        if self.refuse(message):
            return Refused("InternalError", "refused on request")
        message_id = str(uuid.uuid4())
        sent = int(self._wall_clock() * 1000)
        incoming = Message(message_id, "", message.body, sent, 0, message.object_name)
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

    def put(self, key: str, content: bytes) -> bool:
        self.puts.append(key)
        self.fail(key)
        return self.objects.setdefault(key, content) is content


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
