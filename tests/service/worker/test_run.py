"""The worker's process when it is to stop and something hangs."""

from __future__ import annotations

import atexit
import os
import queue
import signal
import threading
from pathlib import Path

import pytest

from service.worker import run
from tests.service.fake_aws import Cut, FakeAws
from tests.service.harness import LIVENESS_SECONDS, started


@pytest.mark.parametrize(
    "hanging",
    [
        "ReceiveMessage",
        "PutObject",
        "DeleteMessageBatch",
        "PutObject and ChangeMessageVisibilityBatch",
        "DeleteMessageBatch and ChangeMessageVisibilityBatch",
    ],
)
def test_it_ends_with_0_in_time_whatever_hangs_and_hands_back_what_it_has(hanging: str, tmp_path: Path) -> None:
    released = threading.Event()
    reached = threading.Event()

    def before(name: str) -> None:
        if name in hanging:
            reached.set()
            released.wait(60)
            raise Cut

    with FakeAws(before=before).running() as aws:
        aws.fill(12)
        # A call alone may take 7 seconds until it is given up, and is tried again then.
        with started("worker", {**aws.env, "STOP_TIMEOUT_SECONDS": "2"}, tmp_path / "log") as process:
            assert reached.wait(LIVENESS_SECONDS)
            assert process.stop() == 0
        lines = [line["message"] for line in process.lines()]
        back = aws.queue.receive(10) + aws.queue.receive(10)
        released.set()
    if "ChangeMessageVisibilityBatch" in hanging:
        assert back == []
    else:
        assert len(back) == 12, "there for others without a wait"
    assert ("there is no time left to finish what is in work" in lines) == ("ReceiveMessage" not in hanging)
    assert lines[-1] == "stopped"


def test_the_process_ends_at_the_last_moment_if_stopping_itself_hangs() -> None:
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: list[object] = []
    signals.put(signal.SIGTERM)
    run._watch(signals, lambda: done.append("stop"), 0.0, done.append)
    assert done == ["stop", 0]


def test_what_is_to_be_done_at_the_end_is_done_beside_threads_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: done.append("exit functions"))
    monkeypatch.setattr(os, "_exit", done.append)
    run._exit_beside_threads()
    assert done == ["exit functions", 0]
