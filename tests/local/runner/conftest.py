from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.runner import Runner
from tests.local.runner.fakes import FakeCloud, FakeImages, write_image


@pytest.fixture(scope="session", autouse=True)
def ports_of_its_own() -> Iterator[None]:
    """A range of ports for each process that tests run in: one might choose what another has chosen, and not yet used."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("local.runner.host._PORTS", range(20000 + 1000 * (worker % 10), 21000 + 1000 * (worker % 10)))
        yield


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def images(tmp_path: Path) -> FakeImages:
    return write_image(tmp_path / "image")


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
async def runner(
    anyio_backend: str, cloud: FakeCloud, images: FakeImages, tmp_path: Path, reports: list[str]
) -> AsyncIterator[Runner]:
    """A runner on a free port, stopped at the end."""
    runner = Runner(aws=cloud, images=images, folder=tmp_path / "run", port=0, report=reports.append)
    await runner.start()
    yield runner
    await runner.stop()
