from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator

import pytest

from service.thread_pool import CallHangs, PoolClosed, ThreadPool
from tests.service.harness import LIVENESS_SECONDS


def test_calls_run_off_the_loop_and_bring_back_what_they_return_or_raise() -> None:
    threads = ThreadPool("test", 2)

    def fail() -> None:
        raise ValueError("why")

    async def main() -> None:
        assert await threads.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(ValueError, match="why"):
            await threads.run(fail)

    asyncio.run(main())
    threads.close()


def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    threads = ThreadPool("test", 2)
    running, most = 0, 0
    lock = threading.Lock()
    both = threading.Barrier(2)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(LIVENESS_SECONDS)
        with lock:
            running -= 1

    async def main() -> None:
        await asyncio.gather(*(threads.run(call) for _ in range(10)))

    asyncio.run(main())
    threads.close()
    assert most == 2


def test_a_forgotten_call_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    threads = ThreadPool("test", 1)
    with caplog.at_level(logging.ERROR):
        threads.forget(lambda: 1 / 0)
        threads.close()
    assert "a call in the background failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def _blocked(gate: threading.Event) -> bool:
    return gate.wait(LIVENESS_SECONDS)


def test_calls_that_wait_get_a_thread_each() -> None:
    """Sixteen that wait for each other: none returns before all have begun."""
    threads = ThreadPool("test", 16)
    together = threading.Barrier(16)

    async def main() -> None:
        for _ in range(20):
            await asyncio.gather(*(threads.run(together.wait, LIVENESS_SECONDS) for _ in range(16)))

    asyncio.run(main())
    threads.close()


def test_short_calls_are_worked_off_by_few_threads() -> None:
    threads = ThreadPool("test", 16)
    seen: set[int] = set()

    def call() -> None:
        seen.add(threading.get_ident())

    async def main() -> None:
        for _ in range(200):
            await asyncio.gather(*(threads.run(call) for _ in range(16)))

    asyncio.run(main())
    threads.close()
    # One, and one more for each time that the machine was too busy to let it run at once.
    assert len(seen) < 16


def test_a_call_that_hangs_holds_up_no_other() -> None:
    threads, gate = ThreadPool("test", 3), threading.Event()

    async def main() -> None:
        hanging = [threads.start(_blocked, gate) for _ in range(2)]
        async with asyncio.timeout(LIVENESS_SECONDS):
            for number in range(100):
                assert await threads.run(abs, -number) == number
        gate.set()
        assert await asyncio.gather(*hanging) == [True, True]

    asyncio.run(main())
    threads.close()


def test_a_call_that_takes_too_long_is_given_up_and_known_to_hang() -> None:
    threads, gate = ThreadPool("test", 2, bound_seconds=0.1), threading.Event()

    async def main() -> None:
        with pytest.raises(CallHangs, match=r"0\.1 s"):
            await threads.run(_blocked, gate)
        assert threads.hanging == 1
        assert threads.all_hang() is None
        assert await threads.run(abs, -1) == 1
        gate.set()
        async with asyncio.timeout(LIVENESS_SECONDS):
            while threads.hanging:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    threads.close()


def test_with_every_thread_hanging_a_call_is_refused_and_what_was_in_line_is_never_made() -> None:
    threads, gate = ThreadPool("test", 1, bound_seconds=0.1), threading.Event()
    made: list[str] = []

    async def main() -> None:
        hanging = threads.start(_blocked, gate)
        late = threads.start(made.append, "late")
        for given_up in (hanging, late):
            with pytest.raises(CallHangs):
                await given_up
        assert threads.hanging == 1  # the other one had not begun
        assert threads.all_hang() == "calls hang in all threads of the pool 'test'"
        threads.forget(made.append, "forgotten")
        await asyncio.sleep(0.2)
        with pytest.raises(CallHangs, match="in line"):
            threads.start(made.append, "refused")
        gate.set()
        async with asyncio.timeout(LIVENESS_SECONDS):
            while not made:
                await asyncio.sleep(0.01)
        assert await threads.run(abs, -1) == 1
        assert threads.all_hang() is None

    asyncio.run(main())
    threads.close()
    assert made == ["forgotten"]


def test_a_caller_that_is_cancelled_leaves_the_call_to_itself() -> None:
    threads, begun, gate = ThreadPool("test", 1), threading.Event(), threading.Event()
    made: list[str] = []

    def call() -> None:
        begun.set()
        gate.wait(LIVENESS_SECONDS)
        made.append("made")

    async def main() -> None:
        waiting = asyncio.create_task(threads.run(call))
        skipped = asyncio.create_task(threads.run(made.append, "skipped"))
        assert await asyncio.to_thread(begun.wait, LIVENESS_SECONDS)
        for task in (waiting, skipped):
            task.cancel()
        gate.set()
        await asyncio.sleep(0.05)
        assert await threads.run(abs, -1) == 1

    asyncio.run(main())
    threads.close()
    assert made == ["made"]


def test_a_thread_that_has_nothing_to_do_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.thread_pool.IDLE_SECONDS", 0.05)
    threads = ThreadPool("idle", 4)

    async def main() -> None:
        await threads.run(abs, -1)
        async with asyncio.timeout(LIVENESS_SECONDS):
            while any(thread.name.startswith("idle") for thread in threading.enumerate()):
                await asyncio.sleep(0.01)
        assert await threads.run(abs, -1) == 1

    asyncio.run(main())
    threads.close()


def test_a_thread_that_is_woken_when_it_is_about_to_end_makes_the_call_and_sleeps_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(ThreadPool):
        """A call comes when a thread has slept for long enough, but before it has said so."""

        calls = 1

        def _leave(self, sleeper: threading.Lock) -> bool:
            if self.calls:
                self.calls -= 1
                self.forget(made.append, "late")
                monkeypatch.undo()
            return super()._leave(sleeper)

    monkeypatch.setattr("service.thread_pool.IDLE_SECONDS", 0.05)
    made: list[str] = []
    threads, together = Late("late", 2), threading.Barrier(2)

    async def main() -> None:
        await threads.run(abs, -1)
        async with asyncio.timeout(LIVENESS_SECONDS):
            while not (made and len(threads._idle) == len(threads._threads)):
                await asyncio.sleep(0.01)
        assert (len(threads._threads), threads._awake) == (1, 0)
        for _ in range(20):
            await asyncio.gather(*(threads.run(together.wait, LIVENESS_SECONDS) for _ in range(2)))

    asyncio.run(main())
    threads.close()
    assert made == ["late"]


def test_a_pool_that_is_closed_at_once_tells_those_in_line() -> None:
    threads, begun, gate = ThreadPool("test", 1), threading.Event(), threading.Event()
    made: list[str] = []

    def call() -> bool:
        begun.set()
        return gate.wait(LIVENESS_SECONDS)

    async def main() -> None:
        running = threads.start(call)
        assert await asyncio.to_thread(begun.wait, LIVENESS_SECONDS)
        in_line = threads.start(made.append, "in line")
        given_up = threads.start(made.append, "given up")
        threads.forget(made.append, "forgotten")
        given_up.cancel()
        threads.close(wait=False)
        with pytest.raises(PoolClosed, match="'test'"):
            await in_line
        gate.set()
        assert await running

    asyncio.run(main())
    assert made == []


def test_a_closed_pool_takes_no_calls_and_waits_no_longer_than_told_for_one_that_hangs() -> None:
    threads, gate = ThreadPool("test", 1), threading.Event()

    async def main() -> None:
        threads.start(_blocked, gate)
        dropped = threads.start(abs, -1)
        await asyncio.to_thread(threads.close, timeout_seconds=0.05)
        with pytest.raises(PoolClosed, match="'test'"):
            threads.start(abs, -1)
        gate.set()
        assert await dropped == 1

    asyncio.run(main())


def test_what_comes_back_after_the_loop_has_ended_is_dropped() -> None:
    threads, gate = ThreadPool("test", 1), threading.Event()

    async def main() -> None:
        threads.start(_blocked, gate)

    asyncio.run(main())
    gate.set()
    threads.close()

    async def later() -> int:
        return await ThreadPool("test", 1).run(abs, -3)

    assert asyncio.run(later()) == 3


def test_a_pool_takes_no_call_of_another_loop() -> None:
    """Its timers, and what its threads bring back, are the first one's."""
    threads, made = ThreadPool("test", 1), list[int]()

    async def call() -> None:
        await threads.run(made.append, 1)

    async def forget() -> None:
        threads.forget(made.append, 2)

    asyncio.run(call())
    for again in (call, forget):
        with pytest.raises(ValueError, match="'test' is another event loop's"):
            asyncio.run(again())
    threads.close()
    assert made == [1]


def test_functions_made_anew_for_each_call_are_not_remembered_for_ever() -> None:
    threads = ThreadPool("test", 2)

    async def main() -> None:
        for number in range(200):

            def call(number: int = number) -> int:
                return number

            assert await threads.run(call) == number

    asyncio.run(main())
    threads.close()
    assert len(threads._kinds) <= 64


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """No thread can be started, as CPython says it when pthread_create() fails."""
    with pytest.MonkeyPatch.context() as patch:

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", start)
        yield


def test_a_pool_that_could_start_no_thread_refuses_calls_and_works_again_once_it_can() -> None:
    threads = ThreadPool("test", 2)
    made: list[str] = []

    async def main() -> None:
        with no_threads():
            assert threads.fault() is None, "nothing is known yet"
            for _ in range(3):
                with pytest.raises(CallHangs, match="'test' can't start a thread: can't start new thread"):
                    threads.start(made.append, "refused")
            assert threads.fault() == "the pool 'test' can't start a thread: can't start new thread"
        assert threads.fault() is None
        assert await threads.run(abs, -1) == 1

    asyncio.run(main())
    threads.close()
    assert made == []


def test_a_call_waits_for_the_threads_there_are_when_no_more_can_be_started() -> None:
    threads, gate, begun = ThreadPool("test", 2), threading.Event(), threading.Event()

    def blocked() -> bool:
        begun.set()
        return _blocked(gate)

    async def main() -> None:
        first = threads.start(blocked)
        assert await asyncio.to_thread(begun.wait, 10)
        with no_threads():
            second = threads.start(_blocked, gate)
            assert threads.fault() is None
            gate.set()
            assert await first and await second

    asyncio.run(main())
    threads.close()


def test_a_forgotten_call_is_made_once_there_is_a_thread_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.thread_pool.RETRY_SECONDS", 0.01)
    threads, made = ThreadPool("test", 1), threading.Event()

    async def main() -> None:
        with no_threads():
            threads.forget(made.set)
            while threads.fault() is None:
                await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            while not made.is_set():
                await asyncio.sleep(0.001)

    asyncio.run(main())
    threads.close()


@pytest.mark.parametrize("where", ["_next", "_bring"])
def test_a_thread_that_ends_against_its_will_is_replaced(where: str, caplog: pytest.LogCaptureFixture) -> None:
    class Scarce(ThreadPool):
        """Runs out of memory once, between two calls."""

        errors = 1

    def fail_once(pool: Scarce, *args: object) -> object:
        if pool.errors:
            pool.errors -= 1
            raise MemoryError
        return getattr(ThreadPool, where)(pool, *args)

    setattr(Scarce, where, fail_once)
    threads, together = Scarce("test", 2), threading.Barrier(2)

    async def main() -> None:
        lost = threads.start(abs, -1)
        async with asyncio.timeout(10):
            while threads._threads:
                await asyncio.sleep(0.001)
            assert threads._awake == 0
            for _ in range(3):
                await asyncio.gather(*(threads.run(together.wait, 10) for _ in range(2)))
        lost.cancel()

    asyncio.run(main())
    threads.close()
    assert "a thread has ended" in caplog.text


def test_a_thread_that_ends_while_it_sleeps_is_no_idle_one() -> None:
    threads = ThreadPool("test", 1)

    def leave(_: object) -> bool:
        raise MemoryError

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.thread_pool.IDLE_SECONDS", 0.001)
            patch.setattr(threads, "_leave", leave)
            await threads.run(abs, -1)
            async with asyncio.timeout(10):
                while threads._threads:
                    await asyncio.sleep(0.001)
        assert (threads._idle, threads._awake) == ([], 0)
        assert await threads.run(abs, -1) == 1

    asyncio.run(main())
    threads.close()


def test_a_result_that_could_not_be_announced_comes_with_the_next_one() -> None:
    threads = ThreadPool("test", 1)

    class Loop:
        """Runs out of memory when it is told of the first result."""

        def call_soon_threadsafe(self, _: object) -> None:
            raise MemoryError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads, "_enter", lambda _: loop)
            patch.setattr(threads, "_loop", Loop())
            patch.setattr(threads, "_keep_moving", lambda: None)
            first = threads.start(abs, -1)
            async with asyncio.timeout(10):
                while threads._threads:
                    await asyncio.sleep(0.001)
        assert await threads.run(abs, -2) == 2
        assert await first == 1

    asyncio.run(main())
    threads.close()
