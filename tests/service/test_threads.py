from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from service.threads import Threads


def test_calls_run_off_the_loop_and_bring_back_what_they_return_or_raise() -> None:
    threads = Threads("test", 2)

    def fail() -> None:
        raise ValueError("why")

    async def main() -> None:
        assert await threads.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(ValueError, match="why"):
            await threads.run(fail)

    asyncio.run(main())
    threads.close()


def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    threads = Threads("test", 2)
    running, most = 0, 0
    lock = threading.Lock()
    both = threading.Barrier(2)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(10)
        with lock:
            running -= 1

    async def main() -> None:
        await asyncio.gather(*(threads.run(call) for _ in range(10)))

    asyncio.run(main())
    threads.close()
    assert most == 2


def test_a_forgotten_call_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads("test", 1)
    with caplog.at_level(logging.ERROR):
        threads.forget(lambda: 1 / 0)
        threads.close()
    assert "a call in the background failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
