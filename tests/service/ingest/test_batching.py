from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from service.aws.queues import BATCH_BYTES, Accepted, Outgoing, Refused
from service.http.errors import Unavailable
from service.ingest.batching import Batcher
from service.telemetry.metrics import Metrics
from service.thread_pool import ThreadPool
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.memory import MemoryQueue


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    made = ThreadPool("test", 4)
    yield made
    made.close()


def test_messages_that_come_together_are_sent_together(threads: ThreadPool) -> None:
    queue = MemoryQueue()

    async def main() -> list[str]:
        sender = Batcher(queue, threads, linger_seconds=0.05)
        return await asyncio.gather(*(sender.send(Outgoing(f'{{"n":{n}}}')) for n in range(25)))

    message_ids = asyncio.run(main())
    assert len(set(message_ids)) == 25
    assert sorted(len(batch) for batch in queue.sent_batches) == [5, 10, 10]


def test_a_message_alone_does_not_wait_for_company(threads: ThreadPool) -> None:
    queue = MemoryQueue()
    asyncio.run(_send(Batcher(queue, threads, linger_seconds=0.001), "{}"))
    assert [len(batch) for batch in queue.sent_batches] == [1]


def test_a_batch_stays_within_what_sqs_takes(threads: ThreadPool) -> None:
    queue = MemoryQueue()

    async def main() -> None:
        sender = Batcher(queue, threads, linger_seconds=0.05)
        sizes = [BATCH_BYTES, 1, 600_000, 600_000, 400_000]
        await asyncio.gather(*(sender.send(Outgoing("x" * size)) for size in sizes))

    asyncio.run(main())
    assert all(sum(message.size for message in batch) <= BATCH_BYTES for batch in queue.sent_batches)
    assert sum(len(batch) for batch in queue.sent_batches) == 5


def test_every_caller_gets_the_outcome_of_its_own_message(threads: ThreadPool) -> None:
    queue = MemoryQueue()
    queue.refuse = lambda message: message.body == "3"

    async def main() -> list[str | BaseException]:
        sender = Batcher(queue, threads, linger_seconds=0.05)
        return await asyncio.gather(*(sender.send(Outgoing(str(n))) for n in range(10)), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Unavailable)] == [3]
    assert len(queue) == 9


def test_a_queue_that_is_away_is_503_for_all_and_the_next_message_is_tried_again(threads: ThreadPool) -> None:
    queue = MemoryQueue()

    async def main() -> None:
        sender = Batcher(queue, threads)
        queue.away = True
        with pytest.raises(Unavailable) as caught:
            await sender.send(Outgoing("{}"))
        assert int(caught.value.headers["Retry-After"]) > 0
        queue.away = False
        assert await sender.send(Outgoing("{}"))

    asyncio.run(main())


class Held:
    """A queue whose calls wait."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.calls = 0

    def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
        self.calls += 1
        assert self.go_on.wait(LIVENESS_SECONDS)
        return [Accepted(message.body) for message in messages]


@pytest.mark.parametrize("room", [{"room_messages": 30}, {"room_bytes": 60}])
def test_a_full_buffer_refuses_at_once_and_empties_again(threads: ThreadPool, room: dict[str, Any]) -> None:
    queue = Held()

    async def main() -> None:
        sender = Batcher(queue, threads, linger_seconds=0.001, calls=2, **room)
        waiting = [asyncio.create_task(sender.send(Outgoing(f"{n:02}"))) for n in range(30)]
        await asyncio.to_thread(wait_until, lambda: queue.calls == 2)
        with pytest.raises(Unavailable):
            await sender.send(Outgoing("xx"))
        assert queue.calls == 2
        queue.go_on.set()
        assert await asyncio.gather(*waiting) == [f"{n:02}" for n in range(30)]
        assert await sender.send(Outgoing("yy")) == "yy"

    asyncio.run(main())


def test_a_message_counts_as_what_it_takes_in_memory(threads: ThreadPool) -> None:
    """CPython keeps four bytes for each character of a text that has one beyond the basic plane (PEP 393)."""
    queue = Held()

    async def main() -> None:
        sender = Batcher(queue, threads, room_bytes=1000)
        waiting = asyncio.create_task(sender.send(Outgoing("x" * 700)))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await sender.send(Outgoing("x" * 100 + "😀"))
        queue.go_on.set()
        await waiting
        assert await sender.send(Outgoing("x" * 100 + "😀")) == "x" * 100 + "😀"

    asyncio.run(main())


def test_what_goes_wrong_with_one_batch_keeps_no_other_from_going_out() -> None:
    threads, queue = ThreadPool("test", 1), Held()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        sender = Batcher(queue, threads, calls=1)
        first, second = (asyncio.create_task(sender.send(Outgoing(body))) for body in ("0" * 600_000, "1" * 600_000))
        await asyncio.sleep(0)
        with pytest.MonkeyPatch.context() as patch:

            def tell(*_: object) -> None:
                patch.undo()
                raise MemoryError

            patch.setattr(sender, "_tell", tell)
            queue.go_on.set()
            assert await asyncio.wait_for(second, 10) == "1" * 600_000
        first.cancel()

    asyncio.run(main())
    threads.close()


def test_a_caller_that_gives_up_harms_no_other(threads: ThreadPool) -> None:
    queue = Held()

    async def main() -> None:
        sender = Batcher(queue, threads, linger_seconds=0.001)
        gone, stays = (asyncio.create_task(sender.send(Outgoing(body))) for body in ("gone", "stays"))
        await asyncio.to_thread(wait_until, lambda: queue.calls == 1)
        gone.cancel()
        queue.go_on.set()
        assert await stays == "stays"
        assert await sender.send(Outgoing("next")) == "next"

    asyncio.run(main())


def test_a_broken_queue_is_503_and_not_a_hang(threads: ThreadPool) -> None:
    class Broken:
        def send(self, messages: Sequence[Outgoing]) -> list[Accepted | Refused]:
            raise RuntimeError("broken")

    with pytest.raises(Unavailable):
        asyncio.run(_send(Batcher(Broken(), threads), "{}"))


async def _send(sender: Batcher, body: str) -> str:
    return await sender.send(Outgoing(body))


def test_a_message_on_an_idle_service_goes_out_at_once(threads: ThreadPool) -> None:
    queue = MemoryQueue()

    async def main() -> None:
        sender = Batcher(queue, threads, linger_seconds=3600)
        await asyncio.wait_for(sender.send(Outgoing("{}")), LIVENESS_SECONDS)
        await asyncio.gather(*(asyncio.wait_for(sender.send(Outgoing("{}")), LIVENESS_SECONDS) for _ in range(3)))

    asyncio.run(main())
    assert [len(batch) for batch in queue.sent_batches] == [1, 3], "and takes along what came in the same moment"


def test_while_a_call_is_under_way_messages_wait_for_company(threads: ThreadPool) -> None:
    queue = Held()

    async def main() -> None:
        sender = Batcher(queue, threads, linger_seconds=3600, calls=4)
        waiting = [asyncio.create_task(sender.send(Outgoing("0")))]
        await asyncio.to_thread(wait_until, lambda: queue.calls == 1)
        waiting += [asyncio.create_task(sender.send(Outgoing(str(n)))) for n in range(1, 6)]
        await asyncio.sleep(0.05)  # less only makes the test milder
        assert queue.calls == 1
        waiting += [asyncio.create_task(sender.send(Outgoing(str(n)))) for n in range(6, 11)]
        await asyncio.to_thread(wait_until, lambda: queue.calls == 2)
        waiting.append(asyncio.create_task(sender.send(Outgoing("11"))))
        await asyncio.sleep(0.02)  # less only makes the test milder
        assert queue.calls == 2, "the eleventh waits"
        queue.go_on.set()
        assert await asyncio.wait_for(asyncio.gather(*waiting), LIVENESS_SECONDS) == [str(n) for n in range(12)]
        assert queue.calls == 3, "until nothing is under way any more"

    asyncio.run(main())


def test_once_the_threads_are_closed_it_is_503_and_not_a_hang() -> None:
    threads = ThreadPool("test", 1)
    threads.close()
    with pytest.raises(Unavailable):
        asyncio.run(_send(Batcher(MemoryQueue(), threads), "{}"))


def test_metrics_tell_how_full_the_batches_are_how_long_calls_take_and_what_was_refused(threads: ThreadPool) -> None:
    queue, metrics = MemoryQueue(), Metrics("api")
    queue.refuse = lambda message: message.body == "3"

    async def main() -> None:
        sender = Batcher(queue, threads, linger_seconds=0.05, metrics=metrics)
        await asyncio.gather(*(sender.send(Outgoing(str(n))) for n in range(10)), return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(main())
    (line,) = (json.loads(line) for line in metrics.lines())
    assert line["BatchFill"] == [10]
    assert line["MessagesRefused"] == 1
    assert len(line["QueueLatency"]) == 1
