from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from service.http.errors import Unauthorized, Unavailable
from service.http.tokens import SsmParameter, Tokens, bearer
from service.thread_pool import ThreadPool
from tests.service.harness import LIVENESS_SECONDS, wait_until
from tests.service.memory import MemoryParameter


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    made = ThreadPool("test", 2)
    yield made
    made.close()


@pytest.fixture
def parameter() -> MemoryParameter:
    return MemoryParameter("one")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(parameter: MemoryParameter, threads: ThreadPool, clock: Clock) -> Tokens:
    made = Tokens(parameter, threads, hurry_seconds=5, overlap_seconds=900, clock=clock)
    made.load()
    return made


async def check(tokens: Tokens, token: str | None) -> bool:
    try:
        await tokens.check(None if token is None else token.encode())
    except Unauthorized:
        return False
    return True


def valid(tokens: Tokens, token: str | None) -> bool:
    """Whether ``token`` is valid. Tokens that have asked their parameter once belong to that call's event loop."""
    return asyncio.run(check(tokens, token))


def test_only_the_token_is_valid(parameter: MemoryParameter, threads: ThreadPool) -> None:
    tokens = Tokens(parameter, threads, hurry_seconds=0)
    tokens.load()
    assert valid(tokens, "one")
    for wrong in (None, "", "on", "one ", "One", "ünö", "two"):
        assert not valid(tokens, wrong)


def test_a_rotation_is_noticed_by_the_first_who_uses_the_new_token(tokens: Tokens, parameter: MemoryParameter) -> None:
    parameter.value = "two"
    assert valid(tokens, "two")
    assert valid(tokens, "one"), "clients may change over in their own time"


def test_the_token_before_a_rotation_ends_with_the_overlap(
    tokens: Tokens, parameter: MemoryParameter, clock: Clock
) -> None:
    parameter.value = "two"
    assert valid(tokens, "two")
    clock.now += 901
    assert not valid(tokens, "one")
    assert valid(tokens, "two")


def test_unknown_tokens_do_not_flood_the_parameter_store(
    tokens: Tokens, parameter: MemoryParameter, clock: Clock
) -> None:
    async def main() -> None:
        for _ in range(50):
            assert not await check(tokens, "guess")
        assert parameter.reads == 2  # at the start, and once
        clock.now += 6
        assert not await check(tokens, "guess")
        assert parameter.reads == 3

    asyncio.run(main())


def test_the_last_token_holds_while_the_parameter_store_is_down(tokens: Tokens, parameter: MemoryParameter) -> None:
    parameter.error = OSError("down")
    assert not valid(tokens, "two")
    assert valid(tokens, "one")


def test_an_emptied_parameter_lets_nobody_in(tokens: Tokens, parameter: MemoryParameter) -> None:
    parameter.value = "\n"
    assert not valid(tokens, "")
    assert valid(tokens, "one")


def test_a_start_without_a_token_fails(threads: ThreadPool) -> None:
    with pytest.raises(ValueError, match="empty"):
        Tokens(MemoryParameter(" "), threads).load()
    with pytest.raises(OSError, match="down"):
        Tokens(MemoryParameter("x", OSError("down")), threads).load()


def test_the_token_is_refreshed_in_the_background(parameter: MemoryParameter, threads: ThreadPool) -> None:
    tokens = Tokens(parameter, threads, refresh_seconds=0.01, hurry_seconds=1e9)
    tokens.load()
    parameter.value = "two"

    async def main() -> None:
        refreshing = asyncio.create_task(tokens.keep_current())
        await asyncio.to_thread(wait_until, lambda: parameter.reads > 3)
        refreshing.cancel()
        await tokens.check(b"two")

    asyncio.run(main())


def test_a_bearer_token_is_the_bytes_that_were_sent() -> None:
    assert bearer("Bearer abc") == b"abc"
    assert bearer("bearer  abc ") == b"abc"
    assert bearer("Bearer " + "é".encode().decode("latin-1")) == "é".encode()
    for none in (None, "", "Bearer", "Bearer ", "Basic abc"):
        assert bearer(none) is None


@pytest.mark.parametrize(("seconds_ago", "taken"), [(0.0, True), (899.0, True), (901.0, False)])
def test_a_task_that_starts_within_the_overlap_takes_the_previous_token(
    threads: ThreadPool, clock: Clock, seconds_ago: float, taken: bool
) -> None:
    started = Tokens(MemoryParameter("two", before=("one", seconds_ago)), threads, overlap_seconds=900, clock=clock)
    started.load()
    assert valid(started, "two")
    assert valid(started, "one") is taken
    clock.now += 900 - seconds_ago + 1
    assert not valid(started, "one"), "the overlap counts from the rotation, not from the start"


class Ssm:
    """Three versions of a parameter, the last one replaced ten seconds ago."""

    def get_parameter(self, Name: str, WithDecryption: bool) -> dict[str, object]:
        assert WithDecryption
        version = int(Name.partition(":")[2] or 3)
        if version == 1:
            raise LookupError("too old")
        modified = datetime.now(UTC) - timedelta(seconds=10 if version == 3 else 1000)
        return {"Parameter": {"Value": f"value {version}", "Version": version, "LastModifiedDate": modified}}


def test_ssm_tells_the_version_before_and_since_when() -> None:
    parameter = SsmParameter(Ssm(), "token")
    assert parameter.previous() is None, "nothing was read yet"
    assert parameter.get() == "value 3"
    before = parameter.previous()
    assert before is not None and before[0] == "value 2"
    assert 10 <= before[1] < 60


def test_a_version_that_ssm_has_not_any_more_is_none() -> None:
    class Old(Ssm):
        def get_parameter(self, Name: str, WithDecryption: bool) -> dict[str, object]:
            if ":" in Name:
                raise LookupError("ParameterVersionNotFound")
            return super().get_parameter(Name, WithDecryption)

    parameter = SsmParameter(Old(), "token")
    parameter.get()
    assert parameter.previous() is None


class HangingParameter(MemoryParameter):
    """Hangs from the second read on, until it may go on."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.hangs, self.go_on = threading.Event(), threading.Event()

    def get(self) -> str:
        value = super().get()
        if self.reads > 1:
            self.hangs.set()
            assert self.go_on.wait(LIVENESS_SECONDS)
        return value


def test_one_read_is_under_way_however_many_tokens_are_unknown_and_nobody_waits_for_long(threads: ThreadPool) -> None:
    parameter = HangingParameter("one")
    tokens = Tokens(parameter, threads, refresh_seconds=0.001, hurry_seconds=0.001, patience_seconds=0.05)
    tokens.load()

    async def main() -> None:
        refreshing = asyncio.create_task(tokens.keep_current())
        assert await asyncio.to_thread(parameter.hangs.wait, LIVENESS_SECONDS)
        for number in range(5):
            with pytest.raises(Unavailable) as raised:
                await tokens.check(b"guess %d" % number)
            assert int(raised.value.headers["Retry-After"]) > 0
            await tokens.check(b"one")
        assert parameter.reads == 2, "at the start, and the one that hangs"
        parameter.value = "two"
        parameter.go_on.set()
        while not tokens.knows(b"two"):
            await asyncio.sleep(0.001)
        refreshing.cancel()

    asyncio.run(main())


def test_nobody_waits_for_a_read_that_has_hung_for_long(threads: ThreadPool, clock: Clock) -> None:
    parameter = HangingParameter("one")
    tokens = Tokens(parameter, threads, patience_seconds=LIVENESS_SECONDS, clock=clock)
    tokens.load()

    async def main() -> None:
        waiting = asyncio.create_task(tokens.check(b"guess"))
        assert await asyncio.to_thread(parameter.hangs.wait, LIVENESS_SECONDS)
        clock.now += LIVENESS_SECONDS
        with pytest.raises(Unavailable, match="could not be looked up just now"):
            await asyncio.wait_for(tokens.check(b"another"), LIVENESS_SECONDS / 2)
        await tokens.check(b"one")
        parameter.go_on.set()
        with pytest.raises(Unauthorized):
            await waiting

    asyncio.run(main())


def test_a_read_that_never_returns_is_a_fault_and_later_ones_still_end() -> None:
    parameter, threads = HangingParameter("one"), ThreadPool("token", 1, bound_seconds=0.05)
    tokens = Tokens(parameter, threads, refresh_seconds=0.001, hurry_seconds=0.001)
    tokens.load()

    async def main() -> None:
        refreshing = asyncio.create_task(tokens.keep_current())
        async with asyncio.timeout(LIVENESS_SECONDS):
            while tokens.fault() is None:
                await asyncio.sleep(0.001)
        assert tokens.fault() == "calls hang in all threads of the pool 'token'"
        with pytest.raises(Unauthorized):
            await tokens.check(b"guess")
        parameter.value = "two"
        parameter.go_on.set()
        async with asyncio.timeout(LIVENESS_SECONDS):
            while not tokens.knows(b"two"):
                await asyncio.sleep(0.001)
        assert tokens.fault() is None
        refreshing.cancel()

    asyncio.run(main())
    threads.close()


def test_what_waiting_requests_hold_is_bounded_together(threads: ThreadPool) -> None:
    parameter = HangingParameter("one")
    tokens = Tokens(parameter, threads, most_waiting_bytes=1000)
    tokens.load()

    async def main() -> None:
        waiting = [asyncio.create_task(tokens.check(b"guess %d" % number, 400)) for number in range(2)]
        assert await asyncio.to_thread(parameter.hangs.wait, LIVENESS_SECONDS)
        with pytest.raises(Unavailable, match="Too many unknown tokens"):
            await tokens.check(b"another", 400)
        small = asyncio.create_task(tokens.check(b"small", 200))
        for task in (*waiting, small):
            task.cancel()
        await asyncio.gather(*waiting, small, return_exceptions=True)
        parameter.go_on.set()
        # Whoever has gone holds nothing any more.
        with pytest.raises(Unauthorized):
            await tokens.check(b"another", 1000)

    asyncio.run(main())
