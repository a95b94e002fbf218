from __future__ import annotations

import threading
from pathlib import Path

from service.storage import FileStore, Part
from tests.service.harness import Api, running_api, wait_until


def test_an_address_is_not_mended_by_a_redirect(api: Api) -> None:
    answer = api.client.post("/arquivos/", content=b"x", follow_redirects=False)
    assert answer.status_code == 404
    assert "'/arquivos/'" in answer.json()["detail"]


def test_what_is_left_to_clean_is_cleaned_before_the_app_ends(tmp_path: Path) -> None:
    begun = threading.Event()

    class Slow(FileStore):
        def begin(self, content_type: str) -> Part:
            part = super().begin(content_type)
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
    pools = ("readers", "writers", "probe", "aws")
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith(pools)])
