"""The laws of batching: nothing is lost, doubled, reordered or too large, whatever comes and whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.aws.queues import BATCH_BYTES, BATCH_ENTRIES, Accepted, Outgoing, QueueAway, Refused
from service.http.errors import Unavailable
from service.ingest.batching import Batcher
from service.thread_pool import ThreadPool


class Outbox:
    """Takes batches as SQS does, and fails as SQS can: a message, a whole call, or the process that makes it."""

    def __init__(self, refused: set[int], away: set[int]) -> None:
        self.batches: list[list[int]] = []
        self._refused = refused
        self._away = away

    def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
        assert 1 <= len(messages) <= BATCH_ENTRIES
        assert sum(message.size for message in messages) <= BATCH_BYTES
        numbers = [int(message.body.split()[0]) for message in messages]
        self.batches.append(numbers)
        if self._away & set(numbers):
            raise QueueAway("Timeout")
        return [Refused("Invalid", "") if n in self._refused else Accepted(f"id-{n}") for n in numbers]


SIZES = st.one_of(
    st.integers(10, 200),
    st.integers(10, 200),
    st.sampled_from([BATCH_BYTES, BATCH_BYTES - 100, BATCH_BYTES // 2, BATCH_BYTES // 2 + 1, BATCH_BYTES // 10]),
)


@hypothesis_settings(max_examples=60)
@given(
    st.lists(SIZES, min_size=1, max_size=60),
    st.sets(st.integers(0, 59), max_size=6),
    st.sets(st.integers(0, 59), max_size=3),
    st.integers(1, 4),
    st.lists(st.integers(1, 20), max_size=6),
)
def test_every_message_is_sent_once_in_order_within_the_limits_and_hears_its_own_outcome(
    sizes: list[int], refused: set[int], away: set[int], calls: int, pauses: list[int]
) -> None:
    outbox = Outbox(refused, away)
    threads = ThreadPool("test", 4)

    async def main() -> list[str | BaseException]:
        sender = Batcher(outbox, threads, linger_seconds=0.001, calls=calls, room_bytes=1 << 30)
        waiting = []
        for number, size in enumerate(sizes):
            body = f"{number} ".ljust(size, "x")
            waiting.append(asyncio.ensure_future(sender.send(Outgoing(body))))
            if number in pauses:
                await asyncio.sleep(0.002)
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)

    try:
        outcomes = asyncio.run(main())
    finally:
        threads.close()
    # Calls that are under way together may begin in any order; what is in each is a run of what was given.
    sent = [number for batch in sorted(outbox.batches) for number in batch]
    assert sent == list(range(len(sizes)))
    failed = {n for batch in outbox.batches if away & set(batch) for n in batch} | refused
    for number, outcome in enumerate(outcomes):
        if number in failed:
            assert isinstance(outcome, Unavailable)
        else:
            assert outcome == f"id-{number}"
