from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from service.http.health import Liveness, StorageProbe
from service.http.tokens import Tokens
from service.thread_pool import ThreadPool
from tests.service.harness import LIVENESS_SECONDS, Api, running_api


@pytest.mark.parametrize("path", ["/healthcheck", "/health", "/health/live"])
def test_a_service_that_can_serve_says_ok(api: Api, path: str) -> None:
    answer = api.client.get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert api.client.head(path).status_code == 200


def test_a_draining_service_is_not_ready_but_alive(api: Api) -> None:
    api.lifecycle.draining = True
    for path in ("/healthcheck", "/health"):
        answer = api.client.get(path)
        assert answer.status_code == 503
        assert "draining" in answer.json()["detail"]
    assert api.client.get("/health/live").status_code == 200
    assert api.client.get("/arquivos").status_code == 200


def test_a_storage_that_fails_is_not_ready(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError(5, "Input/output error")

    with running_api(tmp_path, probe=StorageProbe(broken)) as api:
        answer = api.client.get("/healthcheck")
        assert answer.status_code == 503
        assert "Input/output error" in answer.json()["detail"]


def test_a_storage_that_hangs_is_not_ready_within_the_bound_and_costs_one_thread(tmp_path: Path) -> None:
    go_on = threading.Event()
    asked = []

    def hang() -> None:
        asked.append(threading.current_thread())
        go_on.wait(LIVENESS_SECONDS)

    with running_api(tmp_path, probe=StorageProbe(hang, bound_seconds=0.05, keep_seconds=0)) as api:
        for _ in range(3):
            assert api.client.get("/healthcheck").status_code == 503
            assert api.client.get("/health/live").status_code == 200
        assert len(asked) == 1
        go_on.set()


def test_a_storage_that_recovers_is_ready_again() -> None:
    errors: list[OSError] = [OSError(5, "once")]

    def probe() -> None:
        if errors:
            raise errors.pop()

    async def main() -> None:
        storage = StorageProbe(probe, keep_seconds=0)
        assert await storage.reason() == "the storage failed: once"
        assert await storage.reason() is None
        storage.close()

    asyncio.run(main())


def test_the_answer_is_kept_for_a_while() -> None:
    asked: list[None] = []

    async def main() -> None:
        storage = StorageProbe(lambda: asked.append(None), keep_seconds=60)
        for _ in range(5):
            assert await storage.reason() is None
        storage.close()

    asyncio.run(main())
    assert len(asked) == 1


@pytest.mark.parametrize(("size", "hanging", "ready"), [(8, 1, True), (8, 2, False), (3, 1, False), (1, 1, False)])
def test_calls_that_hang_count_once_they_hold_a_quarter_of_the_threads(size: int, hanging: int, ready: bool) -> None:
    async def main() -> None:
        go_on = threading.Event()
        idle, pool = ThreadPool("idle", size), ThreadPool("test", size, bound_seconds=0.01)
        storage = StorageProbe(lambda: None, keep_seconds=0)
        storage.watch(idle, pool)
        assert await storage.reason() is None
        calls = [pool.start(go_on.wait, LIVENESS_SECONDS) for _ in range(hanging)]
        while pool.hanging < hanging:
            await asyncio.sleep(0.01)
        reason = await storage.reason()
        assert reason == (None if ready else f"calls to the storage hang in {hanging} of {size} threads")
        go_on.set()
        while pool.hanging:
            await asyncio.sleep(0.01)
        assert await storage.reason() is None
        await asyncio.gather(*calls, return_exceptions=True)
        storage.close()
        pool.close(wait=False)
        idle.close(wait=False)

    asyncio.run(main())


def test_a_process_lives_while_nothing_that_it_needs_has_ended() -> None:
    faults: list[str] = []
    ended: list[None] = []
    liveness = Liveness()
    assert liveness.reason() is None
    liveness.watch(lambda: faults[0] if faults else None)
    liveness.watch_end("the writing of logs", lambda: bool(ended))
    assert liveness.reason() is None
    ended.append(None)
    assert liveness.reason() == "the writing of logs has ended"
    faults.append("no thread")
    assert liveness.reason() == "no thread; the writing of logs has ended"


def test_calls_to_aws_that_hang_in_every_thread_are_the_end_of_the_process_and_files_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that replaced this one would hang on the same mount."""
    monkeypatch.setattr(ThreadPool, "all_hang", lambda pool: pool._name)
    with running_api(tmp_path) as api:
        answer = api.client.get("/health/live")
        assert answer.status_code == 503
        # The tests' token is read with the same threads.
        assert answer.json()["detail"] == "Not alive: aws; aws."


def test_a_task_beside_the_api_that_ends_is_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Tokens) -> None:
        raise MemoryError

    monkeypatch.setattr(Tokens, "keep_current", fail)
    with running_api(tmp_path) as api:
        answer = api.client.get("/health/live")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "Not alive: the refresh of the token has ended."
        assert api.client.get("/healthcheck").status_code == 200
