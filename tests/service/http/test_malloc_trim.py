from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.http.malloc_trim import AFTER_BYTES, MallocTrim
from service.thread_pool import ThreadPool
from tests.service.harness import LIVENESS_SECONDS


class Counted(MallocTrim):
    def __init__(self) -> None:
        super().__init__()
        self.trims = 0

    def trim(self) -> None:
        super().trim()
        self.trims += 1


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIVENESS_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def test_memory_is_given_back_after_much_has_passed_and_once_more() -> None:
    malloc_trim, threads = Counted(), ThreadPool("test", 1)

    async def main() -> None:
        keeping = asyncio.create_task(malloc_trim.keep_trim(threads, every_seconds=0.01))
        malloc_trim.passed = AFTER_BYTES - 1
        await asyncio.sleep(0.1)
        assert malloc_trim.trims == 0
        malloc_trim.passed = AFTER_BYTES
        await _until(lambda: malloc_trim.trims == 2)
        await asyncio.sleep(0.1)
        assert malloc_trim.trims == 2
        keeping.cancel()

    asyncio.run(main())
    threads.close()


def test_a_c_library_that_can_not_is_let_alone() -> None:
    malloc_trim = MallocTrim()
    malloc_trim._malloc_trim = None
    malloc_trim.trim()
