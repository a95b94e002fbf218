from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.cloud_process import CloudProcess
from local.deployment import Deployed, deploy, engine_turn, reconcile
from local.engine import Engine
from local.paths import PROJECT_ROOT, LocalPaths
from local.toolchain.engine import EngineSetup

REGION = "us-east-1"


def pytest_itemcollected(item: pytest.Item) -> None:
    # The automation API leaves the sockets of its event loops to the garbage collector.
    item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(autouse=True)
def no_garbage_for_other_tests(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    # The traceback of a program whose engine was gone first holds the program's event loop.
    caplog.get_records("call").clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def executable() -> Path:
    return EngineSetup(print).ensure()


@dataclass
class Place:
    """One checkout's local stack without its runner: the engine and the embedded AWS."""

    engine: Engine
    cloud: CloudProcess
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    deployed: Deployed = dataclasses.field(default_factory=lambda: Deployed([], {}))

    @property
    def paths(self) -> LocalPaths:
        return self.engine.paths

    def up(self, **config: Any) -> Deployed:
        """Deploys with the stack file's configuration, changed by `config`."""
        self.config = config
        with engine_turn(self.paths, print):
            self.deployed = deploy(dataclasses.replace(self.engine, config=config))
        return self.deployed

    def changes(self, **config: Any) -> Mapping[str, int]:
        """Deploys as `up` does, without reading the state afterwards."""
        self.config = config
        with engine_turn(self.paths, print):
            return dataclasses.replace(self.engine, config=config).up()

    def restart_cloud(self) -> None:
        """Kills the embedded AWS and brings it back as `make up` does."""
        self.cloud.process.kill()
        self.cloud.stop()
        self.cloud = CloudProcess.start(self.paths.cloud, region=REGION)
        self.engine = dataclasses.replace(self.engine, cloud_endpoint=self.cloud.endpoint_url)
        with engine_turn(self.paths, print):
            reconcile(self.engine, self.engine.deployment(), self.cloud.endpoint_url, restart=True)
        self.cloud.control("restore")


@contextmanager
def place_in(folder: Path, executable: Path) -> Iterator[Place]:
    paths = LocalPaths(folder)
    cloud = CloudProcess.start(paths.cloud, region=REGION)
    cloud.control("restore")
    place = Place(Engine(executable, paths, cloud_endpoint=cloud.endpoint_url), cloud)
    try:
        yield place
    finally:
        place.cloud.stop()


@pytest.fixture
def place(tmp_path: Path, executable: Path) -> Iterator[Place]:
    with place_in(tmp_path / "local", executable) as place:
        yield place


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory, executable: Path) -> Iterator[Place]:
    """The local stack as its file says, deployed once."""
    with place_in(tmp_path_factory.mktemp("deployed") / "local", executable) as place:
        place.up()
        yield place


@pytest.fixture
def deployed_place(shared_place: Place) -> tuple[Place, Deployed]:
    """The place that is deployed as its file says; tests leave it as it is."""
    return shared_place, shared_place.deployed


@pytest.fixture
def changed_place(shared_place: Place) -> Iterator[Place]:
    """The same place for a test that deploys something else, which is taken back afterwards."""
    engine = shared_place.engine
    yield shared_place
    # The embedded AWS may be another one by now.
    shared_place.engine = dataclasses.replace(engine, cloud_endpoint=shared_place.cloud.endpoint_url)
    if shared_place.config:
        shared_place.up()


@pytest.fixture(scope="session")
def emptied_place(tmp_path_factory: pytest.TempPathFactory, executable: Path) -> Iterator[Place]:
    with place_in(tmp_path_factory.mktemp("empty") / "local", executable) as place:
        yield place


@pytest.fixture
def empty_place(emptied_place: Place) -> Iterator[Place]:
    """A place where nothing is deployed; what a test leaves is destroyed."""
    assert emptied_place.cloud.control("inventory") == {}
    yield emptied_place
    if emptied_place.cloud.control("inventory") != {}:
        emptied_place.engine.destroy()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that a test may change."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    ignored = shutil.ignore_patterns(".git", ".venv*", ".local", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(PROJECT_ROOT, folder, ignore=ignored)
    return folder


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may find an account by accident."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
