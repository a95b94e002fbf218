"""The stand-in `docker` provider: images are built into the checkout's own store, nothing is pushed anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import DiffRequest, DiffResponse

from local.paths import PROJECT_ROOT, local_paths
from local.providers.kind import Created, Properties, ResourceKind
from local.providers.standin import StandIn
from local.providers.values import UNKNOWN, from_plain, is_known, to_plain


class DockerStandIn(StandIn):
    def __init__(self) -> None:
        super().__init__("docker")

    def kind_of(self, token: str) -> ResourceKind | None:
        return _Image() if token == "docker:index/image:Image" else None

    def defaults(self, token: str, inputs: Properties) -> Properties:
        """The digest of what is built is an input, so that a changed file is a change of the image."""
        build = inputs.get("build")
        if not isinstance(build, dict) or not is_known(build):
            return {}
        # The components that this takes import the whole SDK: while the program runs, and not while the engine waits for
        # the plugin to start.
        from local.context_digest import provider_context_digest

        context, dockerfile = _paths(build)
        return {"build": build | {"contextDigest": provider_context_digest(context, dockerfile, PROJECT_ROOT)}}

    async def diff(self, request: DiffRequest) -> DiffResponse:
        olds, news = _compared(request.old_state), _compared(request.new_inputs)
        return await super().diff(DiffRequest(request.urn, request.resource_id, olds, news, request.ignore_changes))


class _Image(ResourceKind):
    computed = frozenset({"baseImageName", "context", "dockerfile", "platform", "registryServer", "repoDigest"})

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        # Without `buildOnPreview` a preview builds nothing and answers with the inputs alone, of an update as well:
        # pulumi/pulumi-docker, provider/provider.go, canPreview.
        return dict.fromkeys(self.computed, UNKNOWN)

    def create(self, name: str, inputs: Properties) -> Created:
        return Created(str(inputs["imageName"]), self._build(inputs))

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        return self._build(inputs)

    def delete(self, resource_id: str, state: Properties) -> None:
        """The real provider leaves images where they were pushed to; a task may still run from one here too."""

    def _build(self, inputs: Properties) -> Properties:
        build = inputs["build"]
        context, dockerfile = _paths(build)
        from local.images import Images

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


def _compared(properties: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """A registry's credentials build nothing again, as the real provider's `diffUpdates` has it."""
    plain = to_plain(properties)
    if isinstance(plain.get("registry"), dict):
        plain["registry"] = {"server": plain["registry"].get("server", "")}
    return from_plain(plain)


def _paths(build: Properties) -> tuple[Path, Path]:
    # As the real provider does: both are relative to the project, and the Dockerfile's default lies in the context.
    context = PROJECT_ROOT / str(build.get("context", "."))
    dockerfile = PROJECT_ROOT / str(build["dockerfile"]) if build.get("dockerfile") else context / "Dockerfile"
    if not dockerfile.is_file():
        raise ValueError(f"build.dockerfile: there is no {dockerfile}")
    return context, dockerfile


def _arguments(build: Properties) -> str:
    return json.dumps([build.get("args") or {}, build.get("platform", ""), build.get("target", "")], sort_keys=True)
