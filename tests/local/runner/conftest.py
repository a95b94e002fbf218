from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.runner import Runner
from tests.local.runner.fakes import FakeCloud, FakeImages, write_image


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
