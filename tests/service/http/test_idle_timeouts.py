from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest

from service.http.idle_timeouts import IdleTimeouts

Message = dict[str, Any]


class _Jumping(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "it waits for ever"
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    """A loop on which time passes when there is nothing else to do, and then at once."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(main)


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def _at_once() -> Message:
    return {"type": "http.request"}


def test_who_sends_in_time_is_let_alone() -> None:
    async def main() -> None:
        stalls = IdleTimeouts(0.05)
        for _ in range(5):
            assert await stalls.receive(_at_once) == {"type": "http.request"}
        await asyncio.sleep(0.15)  # longer than the time in which something must come, but nothing is waited for
        assert await stalls.receive(_at_once) == {"type": "http.request"}

    run(main())


def test_who_sends_nothing_is_given_up_and_the_task_goes_on() -> None:
    async def main() -> None:
        stalls = IdleTimeouts(0.05)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await stalls.receive(_never)
        await asyncio.sleep(0)
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(main())


def test_each_has_its_own_time() -> None:
    async def slowly() -> Message:
        await asyncio.sleep(0.1)
        return {}

    async def main() -> None:
        stalls = IdleTimeouts(0.3)
        first = asyncio.create_task(stalls.receive(_never))
        await asyncio.sleep(0.15)
        second = asyncio.create_task(stalls.receive(slowly))
        third = asyncio.create_task(stalls.receive(_never))
        assert await second == {}
        for task in (first, third):
            with pytest.raises(TimeoutError):
                await task

    run(main())


def test_a_task_that_is_cancelled_by_others_is_cancelled() -> None:
    async def main() -> None:
        stalls = IdleTimeouts(10)
        task = asyncio.create_task(stalls.receive(_never))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
