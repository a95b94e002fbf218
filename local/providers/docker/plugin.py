"""The stand-in `docker` provider: images are built into the checkout's own store, nothing is pushed anywhere."""

from __future__ import annotations

import json
from pathlib import Path

from local.images import Images
from local.paths import PROJECT_ROOT, local_paths
from local.providers.standin import AutoName, Created, Properties, ResourceKind, StandIn
from local.providers.values import is_known


class DockerStandIn(StandIn):
    def __init__(self) -> None:
        super().__init__("docker")

    def kind_of(self, token: str) -> ResourceKind | None:
        return _Image() if token == "docker:index/image:Image" else None

    def answer(self, token: str, arguments: Properties) -> Properties | None:
        return None

    def defaults(self, token: str, inputs: Properties) -> Properties:
        """The digest of what is built is an input, so that a changed file is a change of the image."""
        build = inputs.get("build")
        if not isinstance(build, dict) or not is_known(build):
            return {}
        return {"build": build | {"contextDigest": _digest(build)}}


class _Image:
    auto_name: AutoName | None = None
    replaces: frozenset[str] = frozenset()
    computed = frozenset({"baseImageName", "context", "dockerfile", "platform", "registryServer", "repoDigest"})

    def create(self, name: str, inputs: Properties) -> Created:
        return Created(str(inputs["imageName"]), self._build(inputs))

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        return self._build(inputs)

    def delete(self, resource_id: str, state: Properties) -> None:
        """The real provider leaves images where they were pushed to; a task may still run from one here too."""

    def exists(self, resource_id: str, state: Properties) -> bool:
        return True

    def _build(self, inputs: Properties) -> Properties:
        build = inputs["build"]
        context, dockerfile = _paths(build)
        digest = Images(local_paths().images).build(context, dockerfile, _arguments(build))
        name = str(inputs["imageName"])
        repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        return {
            "baseImageName": name,
            "context": build.get("context", "."),
            "dockerfile": build.get("dockerfile", "Dockerfile"),
            "platform": build.get("platform", ""),
            "registryServer": (inputs.get("registry") or {}).get("server", ""),
            "repoDigest": f"{repository}@sha256:{digest}",
        }


def _digest(build: Properties) -> str:
    context, dockerfile = _paths(build)
    return Images(local_paths().images).digest(context, dockerfile, _arguments(build))


def _paths(build: Properties) -> tuple[Path, Path]:
    # As the real provider does: both are relative to the project, and the Dockerfile's default lies in the context.
    context = PROJECT_ROOT / str(build.get("context", "."))
    dockerfile = PROJECT_ROOT / str(build["dockerfile"]) if build.get("dockerfile") else context / "Dockerfile"
    if not dockerfile.is_file():
        raise ValueError(f"build.dockerfile: there is no {dockerfile}")
    return context, dockerfile


def _arguments(build: Properties) -> str:
    return json.dumps([build.get("args") or {}, build.get("platform", ""), build.get("target", "")], sort_keys=True)
