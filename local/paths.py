"""Where the local stack keeps things."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class LocalPaths:
    """The ignored folder of one checkout. Every path is absolute; none is created by looking at it."""

    folder: Path

    @property
    def workspace(self) -> Path:
        """The engine's working copy of the project file and the stack files."""
        return self.folder / "workspace"

    @property
    def state(self) -> Path:
        """The engine's file backend."""
        return self.folder / "state"

    @property
    def cloud(self) -> Path:
        """What the embedded AWS keeps over restarts."""
        return self.folder / "cloud"

    @property
    def images(self) -> Path:
        """One folder an image, named by its digest."""
        return self.folder / "images"

    @property
    def lock(self) -> Path:
        """Held for as long as a `make up` of this checkout runs."""
        return self.folder / "up.lock"

    @property
    def deploy_lock(self) -> Path:
        """Held while the engine works on the stack."""
        return self.folder / "deploy.lock"

    @property
    def session(self) -> Path:
        """How a second terminal finds the running session (JSON)."""
        return self.folder / "session.json"

    @property
    def region(self) -> Path:
        """The region that the deployed stack is in."""
        return self.folder / "region"

    @property
    def ecs(self) -> Path:
        """What "ECS" runs of each service (JSON)."""
        return self.folder / "ecs.json"

    @property
    def ecs_faults(self) -> Path:
        """Which services' new tasks fail, and why (JSON); written by whoever wants to see that."""
        return self.folder / "ecs-faults.json"

    def entries(self) -> list[Path]:
        """Everything that the local stack makes in the folder, and nothing else that may lie there."""
        names = "cloud efs images logs passphrase pulumi-home revisions.json runner.lock state tasks workspace"
        own = [self.lock, self.deploy_lock, self.session, self.region, self.ecs, self.ecs_faults]
        return [path for path in [*(self.folder / name for name in names.split()), *own] if path.exists()]


def local_paths() -> LocalPaths:
    """The checkout's `.local` folder, or the one that `LOCAL_DIR` names."""
    configured = os.environ.get("LOCAL_DIR")
    return LocalPaths(Path(configured).resolve() if configured else PROJECT_ROOT / ".local")


def user_cache() -> Path:
    """The user's cache folder for this project (XDG base directory specification; `~/Library/Caches` on macOS)."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "ecs-file-ingest"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ecs-file-ingest"
    return Path.home() / ".cache" / "ecs-file-ingest"
