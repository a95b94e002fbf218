from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.api import app
from service.files.store import FileStore, Part
from tests.service.harness import LIVENESS_SECONDS, Api, running_api, wait_until


def test_an_address_is_not_mended_by_a_redirect(api: Api) -> None:
    answer = api.client.post("/arquivos/", content=b"x", follow_redirects=False)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    answer = api.client.post("/ingest/", content=b"x", follow_redirects=False)
    assert answer.status_code == 404
    assert "'/ingest/'" in answer.json()["detail"]


def test_what_is_left_to_clean_is_cleaned_before_the_app_ends(tmp_path: Path) -> None:
    begun = threading.Event()

    class Slow(FileStore):
        def begin(self, content_type: str, content_encoding: str = "") -> Part:
            part = super().begin(content_type, content_encoding)
            discard = part.discard

            def slowly() -> None:
                begun.set()
                threading.Event().wait(0.2)
                discard()

            part.discard = slowly  # type: ignore[method-assign]
            return part

    wrong = {"Content-Digest": f"sha-256=:{'A' * 43}=:"}
    with running_api(tmp_path, store=Slow(tmp_path)) as api:
        assert api.client.post("/arquivos", content=b"x", headers=wrong).status_code == 400
        assert begun.wait(10)
    assert list(tmp_path.glob("incoming/*/*.part")) == []


def test_the_token_is_read_before_and_not_at_each_request(api: Api) -> None:
    assert api.parameter.reads == 1
    for _ in range(5):
        api.client.get("/arquivos", headers=api.authorization)
    assert api.parameter.reads == 1


def test_no_thread_outlives_the_app(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        api.client.post("/arquivos", content=b"x")
        api.client.get("/healthcheck")
        assert any(thread.name.startswith("writers") for thread in threading.enumerate())
    pools = ("readers", "writers", "probe", "aws", "heartbeat")
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith(pools)])


class _Beating(FileStore):
    """Fails once, at a beat or at a look at other processes, and counts the beats that have worked."""

    beats = 0
    error: Exception | None = None
    clean_error: Exception | None = None

    def beat(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        super().beat()
        self.beats += 1

    def clean(self) -> None:
        if self.clean_error is not None:
            error, self.clean_error = self.clean_error, None
            raise error
        super().clean()


def _said(caplog: pytest.LogCaptureFixture, name: str = "service.app") -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == name]


def test_a_store_that_takes_no_sign_of_life_is_told_of_and_gets_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without one, other processes would take this one for dead, and remove its uploads under way."""
    monkeypatch.setattr(app, "BEAT_SECONDS", 0.01)
    store = _Beating(tmp_path)
    with running_api(tmp_path, store=store):
        (alive,) = tmp_path.glob("incoming/*.alive")
        store.error = OSError(errno.ESTALE, "stale")
        wait_until(lambda: bool(_said(caplog, "service.heartbeat")))
        before, touched = store.beats, alive.stat().st_mtime_ns
        wait_until(lambda: store.beats > before + 1 and alive.stat().st_mtime_ns > touched)
    assert _said(caplog, "service.heartbeat") == [("WARNING", "the store does not take the heartbeat")]


def test_a_sign_of_life_is_never_behind_uploads_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BEAT_SECONDS", 0.01)
    writing, go_on = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        writing.set()
        go_on.wait(LIVENESS_SECONDS)

    store = _Beating(tmp_path, sync=sync)
    with running_api(tmp_path, store=store, files_threads=1) as api, ThreadPoolExecutor(3) as clients:
        uploads = [clients.submit(api.client.post, "/arquivos", content=b"x") for _ in range(3)]
        assert writing.wait(LIVENESS_SECONDS)
        # The only thread for writing is taken now, and there are more uploads than threads.
        (alive,) = tmp_path.glob("incoming/*.alive")
        before, touched = store.beats, alive.stat().st_mtime_ns
        wait_until(lambda: store.beats > before + 3 and alive.stat().st_mtime_ns > touched)
        go_on.set()
        assert [upload.result().status_code for upload in uploads] == [201] * 3


def test_a_store_that_can_not_be_looked_through_for_dead_processes_is_told_of_and_looked_through_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "BEAT_SECONDS", 0.01)
    store = _Beating(tmp_path)
    store.clean_error = OSError(errno.EIO, "broken")
    with running_api(tmp_path, store=store):
        dead = tmp_path / "incoming" / "1-0.alive"
        dead.touch()
        wait_until(lambda: not dead.exists())
    assert _said(caplog) == [("WARNING", "parts of dead processes can't be looked for")]


def test_a_task_beside_the_api_that_ends_is_told_of_and_the_api_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "BEAT_SECONDS", 0.01)
    store = _Beating(tmp_path)
    store.clean_error = ZeroDivisionError("a mistake")
    with running_api(tmp_path, store=store) as api:
        wait_until(lambda: bool(_said(caplog)))
        assert api.client.get("/arquivos").status_code == 200
    assert _said(caplog) == [("ERROR", "a task beside the API has ended")]
    (record,) = (record for record in caplog.records if record.name == "service.app")
    assert record.exc_info is not None and record.exc_info[1] is not None
    assert str(record.exc_info[1]) == "a mistake"


def test_a_request_that_comes_after_the_end_is_told_to_try_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_api(tmp_path) as api:
        pass
    answer = api.client.get("/arquivos")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem:unavailable")
    assert int(answer.headers["retry-after"]) > 0
    (record,) = (record for record in caplog.records if record.name == "service.request")
    assert (record.levelname, record.exc_info) == ("WARNING", None)
