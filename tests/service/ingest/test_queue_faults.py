"""Sending when SQS, or the way to it, fails: the real botocore against an SQS that fails on purpose.

What holds: a caller that got a message id has a message in the queue, with that id and its own body. A caller that was
told to try again may have one all the same, where the call's answer was lost: sending is at least once. A caller that was
told what is wrong with its message has none.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from service.aws.clients import Clients
from service.aws.queues import BATCH_BYTES, Outgoing, SqsOutbox
from service.http.errors import Invalid, Problem, TooLarge, Unavailable
from service.ingest.batching import Batcher
from service.thread_pool import ThreadPool
from tests.service.fake_sqs import FakeSqs, Fate
from tests.service.harness import LIVENESS_SECONDS

CALLS = 8


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    made = ThreadPool("test", CALLS + 1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def outbox(
    sqs: FakeSqs, monkeypatch: pytest.MonkeyPatch, *, attempts: int = 1, timeout_seconds: float = LIVENESS_SECONDS
) -> SqsOutbox:
    monkeypatch.setenv("AWS_ENDPOINT_URL", sqs.url)
    client = Clients("us-east-1").client(
        "sqs", connections=CALLS, read_timeout_seconds=timeout_seconds, attempts=attempts
    )
    return SqsOutbox(client, sqs.queue_url)


def send_all(
    outbox: SqsOutbox, threads: ThreadPool, bodies: list[str], *, callers: int = 10, **options: Any
) -> dict[str, str | Problem]:
    """Sends every body by one of ``callers``; what each got: its message id, or the problem."""
    outcomes: dict[str, str | Problem] = {}

    async def main() -> None:
        sender = Batcher(outbox, threads, **options)
        left = iter(bodies)

        async def caller() -> None:
            for body in left:
                try:
                    outcomes[body] = await sender.send(Outgoing(body))
                except Problem as problem:
                    outcomes[body] = problem

        await asyncio.gather(*(caller() for _ in range(callers)))

    asyncio.run(main())
    return outcomes


def accepted(outcomes: dict[str, str | Problem]) -> dict[str, str]:
    return {body: outcome for body, outcome in outcomes.items() if isinstance(outcome, str)}


# Eight callers make batches of eight at most, hence calls enough for every fault.
@pytest.mark.parametrize(("messages", "callers"), [(1000, 8), pytest.param(10_000, 200, marks=pytest.mark.soak)])
def test_nothing_accepted_is_lost_among_10_000_messages_with_faults_in_one_call_of_twenty(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch, messages: int, callers: int
) -> None:
    dice = random.Random(4)
    fates: list[Fate] = ["throttled", "internal", "timeout", "dropped", "lost", "cut"]
    # One of each in turn, among twenty times as many calls.
    well: list[Fate] = [""] * 19
    dealt = [fate for one in fates for fate in (one, *well)]
    seen: Counter[str] = Counter()
    calls = itertools.count()

    def fate() -> Fate:
        found = dealt[next(calls) % len(dealt)]
        seen[found] += 1
        return found

    def fails(_: str) -> str:
        return "InternalError" if dice.random() < 0.05 else ""

    bodies = [f'{{"n":{n}}}' for n in range(messages)]
    with FakeSqs(fate=fate, fails=fails).running() as sqs:
        box = outbox(sqs, monkeypatch, timeout_seconds=2)
        outcomes = send_all(box, threads, bodies, callers=callers)
        stored = dict(sqs.stored)

    assert all(seen[kind] for kind in fates), "every fault has happened"
    assert outcomes.keys() == set(bodies), "every caller got an answer"
    for body, message_id in accepted(outcomes).items():
        assert stored[message_id] == body, "each caller has its own message's id"
    refused = {body for body, outcome in outcomes.items() if not isinstance(outcome, str)}
    assert all(isinstance(outcomes[body], Unavailable) for body in refused)
    assert messages // 50 < len(refused) < messages // 5
    # Nobody was refused whose answer had come: what is stored beyond the accepted is what lost its answer, a call at most
    # for each.
    extra = [body for body in stored.values() if body in refused]
    assert len(extra) <= 10 * (seen["lost"] + seen["cut"] + seen["timeout"])


def test_botocores_own_attempts_lose_nothing_either_and_may_send_twice(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(5)
    with FakeSqs(fate=lambda: "lost" if dice.random() < 0.2 else "").running() as sqs:
        outcomes = send_all(
            outbox(sqs, monkeypatch, attempts=3), threads, [f'{{"n":{n}}}' for n in range(500)], callers=100
        )
        bodies, stored = sqs.bodies(), dict(sqs.stored)
    assert len(accepted(outcomes)) > 450
    assert all(stored[message_id] == body for body, message_id in accepted(outcomes).items())
    assert len(bodies) > len(set(bodies)), "at least once: the worker makes one object of a message, not of a body"


@pytest.mark.parametrize("fate", ["throttled", "internal", "timeout", "dropped", "lost", "cut"])
def test_a_call_that_fails_is_503_for_all_of_its_callers_and_for_no_other(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch, fate: Fate
) -> None:
    fates: list[Fate] = [fate]
    with FakeSqs(fate=lambda: fates.pop() if fates else "").running() as sqs:
        bodies = [str(n) for n in range(20)]
        slow = 1 if fate == "timeout" else LIVENESS_SECONDS
        box = outbox(sqs, monkeypatch, timeout_seconds=slow)
        outcomes = send_all(box, threads, bodies, callers=20, linger_seconds=0.1)
        stored = dict(sqs.stored)
    refused = [outcome for outcome in outcomes.values() if isinstance(outcome, Problem)]
    assert len(refused) == 10
    assert all(isinstance(problem, Unavailable) and problem.headers["Retry-After"] for problem in refused)
    assert all(stored[message_id] == body for body, message_id in accepted(outcomes).items())
    assert len(stored) == (20 if fate in ("lost", "cut") else 10)


def test_entries_that_fail_fail_for_their_own_callers(threads: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSqs(fails=lambda body: "InternalError" if int(body) % 3 == 0 else "").running() as sqs:
        outcomes = send_all(outbox(sqs, monkeypatch), threads, [str(n) for n in range(10)], linger_seconds=0.1)
        assert sqs.calls == 1
        assert sorted(sqs.bodies()) == ["1", "2", "4", "5", "7", "8"]
    assert {body for body, outcome in outcomes.items() if isinstance(outcome, Unavailable)} == {"0", "3", "6", "9"}


def test_one_poisoned_message_spoils_no_other(threads: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSqs(poison="bad").running() as sqs:
        bodies = [*(str(n) for n in range(9)), "bad"]
        outcomes = send_all(outbox(sqs, monkeypatch), threads, bodies, linger_seconds=0.1)
        stored = dict(sqs.stored)
    assert isinstance(outcomes["bad"], Invalid), "there is no use in trying again"
    assert {body: stored[message_id] for body, message_id in accepted(outcomes).items()} == {
        body: body for body in bodies[:-1]
    }
    assert len(stored) == 9


def test_a_queue_that_fails_while_the_poisoned_one_is_looked_for_is_503_for_those_it_fails(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fates: list[Fate] = ["", "", "throttled", ""]  # from the last: the batch, the first message, the second
    with FakeSqs(poison="bad", fate=lambda: fates.pop() if fates else "").running() as sqs:
        outcomes = send_all(outbox(sqs, monkeypatch), threads, ["0", "1", "bad"], callers=3, linger_seconds=0.1)
    assert [type(outcome) for outcome in outcomes.values()].count(str) == 1
    assert isinstance(outcomes["bad"], Invalid)
    assert sum(isinstance(outcome, Unavailable) for outcome in outcomes.values()) == 1


def test_a_message_too_large_for_the_queue_spoils_no_other(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue's own limit may be lower than that of SQS, which is the one that is known here."""
    with FakeSqs(fails=lambda body: "InvalidParameterValue" if len(body) > 1000 else "").running() as sqs:
        large = "x" * 2000
        bodies = [*(str(n) for n in range(9)), large]
        outcomes = send_all(outbox(sqs, monkeypatch), threads, bodies, linger_seconds=0.1)
    assert isinstance(outcomes[large], TooLarge)
    assert accepted(outcomes).keys() == set(bodies) - {large}


def test_large_messages_among_small_ones_make_no_call_too_large(
    threads: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0

    def fails(_: str) -> str:
        return ""

    with FakeSqs(fails=fails).running() as sqs:
        original = sqs.send

        def measured(entries: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
            nonlocal largest
            largest = max(largest, sum(len(entry["MessageBody"].encode()) for entry in entries))
            return original(entries)

        sqs.send = measured  # type: ignore[method-assign]
        dice = random.Random(6)
        bodies = [f"{n}:" + "x" * dice.choice([10, 1000, 300_000, 1_000_000]) for n in range(60)]
        outcomes = send_all(outbox(sqs, monkeypatch), threads, bodies, callers=30)
    assert len(accepted(outcomes)) == 60
    assert largest <= BATCH_BYTES
