"""What the two stand-in providers share: the engine's protocol over a table of resource types."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pulumi.provider.experimental.provider import (
    CheckFailure,
    CheckRequest,
    CheckResponse,
    ConfigureRequest,
    ConfigureResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    GetSchemaRequest,
    GetSchemaResponse,
    InvokeRequest,
    InvokeResponse,
    PropertyDiff,
    PropertyDiffKind,
    Provider,
    ReadRequest,
    ReadResponse,
    UpdateRequest,
    UpdateResponse,
)

from local.providers.values import Plain, from_plain, is_known, to_plain

Properties = dict[str, Plain]


@dataclass(frozen=True)
class AutoName:
    """The physical name that a resource gets when the program gives none: `<logical name>-<7 hex digits><suffix>`."""

    property: str = "name"
    longest: int = 255
    lower: bool = False
    suffix: str = ""
    # With this property set, the program asks for a name that begins so.
    prefix_property: str = "namePrefix"


@dataclass(frozen=True)
class Created:
    """A resource's id and the outputs that aren't inputs."""

    id: str
    computed: Properties = field(default_factory=dict)


class ResourceKind(Protocol):
    """One resource type. `replaces` names the inputs whose change makes a new resource."""

    @property
    def auto_name(self) -> AutoName | None: ...
    @property
    def replaces(self) -> frozenset[str]: ...
    @property
    def computed(self) -> frozenset[str]: ...
    def create(self, name: str, inputs: Properties) -> Created: ...
    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties: ...
    def delete(self, resource_id: str, state: Properties) -> None: ...
    def exists(self, resource_id: str, state: Properties) -> bool: ...


class StandIn(Provider):
    """Serves the types of `kind_of` and the functions of `answer`; a name that isn't there is an error that names it."""

    def __init__(self, package: str) -> None:
        self._package = package

    def kind_of(self, token: str) -> ResourceKind | None:
        raise NotImplementedError

    def answer(self, token: str, arguments: Properties) -> Properties | None:
        """The result of a provider function, or None for one that isn't known. Raises ValueError for bad arguments."""
        raise NotImplementedError

    def configured(self, settings: Mapping[str, Plain]) -> None:
        """Takes the provider's configuration."""

    def defaults(self, token: str, inputs: Properties) -> Properties:
        """Inputs that the provider adds to every resource of a type."""
        return {}

    async def get_schema(self, request: GetSchemaRequest) -> GetSchemaResponse:
        return GetSchemaResponse(json.dumps({"name": self._package, "version": "0.0.0"}))

    async def check_config(self, request: CheckRequest) -> CheckResponse:
        return CheckResponse(request.new_inputs)

    async def diff_config(self, request: DiffRequest) -> DiffResponse:
        return DiffResponse(changes=False)

    async def configure(self, request: ConfigureRequest) -> ConfigureResponse:
        self.configured(to_plain(request.args))
        # Without support for previews the engine itself keeps every output unknown that isn't an input: the truth.
        return ConfigureResponse(accept_secrets=False, supports_preview=False)

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        arguments = to_plain(request.args)
        try:
            result = await asyncio.to_thread(self.answer, request.tok, arguments)
        except ValueError as error:
            return InvokeResponse(failures=[CheckFailure("", f"{request.tok}: {error}")])
        if result is None:
            return InvokeResponse(failures=[CheckFailure("", self._unknown("function", request.tok))])
        return InvokeResponse(from_plain(result))

    async def check(self, request: CheckRequest) -> CheckResponse:
        token = _type_of(request.urn)
        kind = self.kind_of(token)
        if kind is None:
            return CheckResponse(request.new_inputs, [CheckFailure("", self._unknown("resource type", token))])
        news, olds = to_plain(request.new_inputs), to_plain(request.old_inputs)
        added = self.defaults(token, news)
        auto = kind.auto_name
        if auto is not None and auto.property not in news:
            added[auto.property] = _auto_name(auto, request.name, news, olds, request.random_seed)
        return CheckResponse(request.new_inputs | from_plain(added))

    async def diff(self, request: DiffRequest) -> DiffResponse:
        kind = self._kind(_type_of(request.urn))
        olds, news = to_plain(request.old_state), to_plain(request.new_inputs)
        detailed: dict[str, PropertyDiff] = {}
        for key in sorted(olds.keys() | news.keys()):
            change = _change(key, olds, news, kind)
            if change is not None:
                detailed[key] = PropertyDiff(change, input_diff=True)
        replaces = [key for key in detailed if key in kind.replaces]
        return DiffResponse(
            changes=bool(detailed),
            replaces=replaces,
            diffs=list(detailed),
            detailed_diff=detailed,
            stables=["arn", "id"],
        )

    async def create(self, request: CreateRequest) -> CreateResponse:
        kind = self._kind(_type_of(request.urn))
        inputs = to_plain(request.properties)
        if request.preview:
            return CreateResponse("", request.properties)
        created = await asyncio.to_thread(kind.create, request.name, inputs)
        return CreateResponse(created.id, from_plain(inputs | created.computed))

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        kind = self._kind(_type_of(request.urn))
        olds, inputs = to_plain(request.olds), to_plain(request.news)
        kept = {key: value for key, value in olds.items() if key in kind.computed}
        if request.preview:
            return UpdateResponse(from_plain(kept | inputs))
        computed = await asyncio.to_thread(kind.update, request.resource_id, olds, inputs)
        return UpdateResponse(from_plain(kept | inputs | computed))

    async def delete(self, request: DeleteRequest) -> None:
        kind = self._kind(_type_of(request.urn))
        await asyncio.to_thread(kind.delete, request.resource_id, to_plain(request.properties))

    async def read(self, request: ReadRequest) -> ReadResponse:
        kind = self._kind(_type_of(request.urn))
        if not request.properties:
            raise ValueError(f"{_type_of(request.urn)}: the stand-in provider can't import {request.resource_id!r}")
        if not await asyncio.to_thread(kind.exists, request.resource_id, to_plain(request.properties)):
            return ReadResponse("")
        return ReadResponse(request.resource_id, request.properties, request.inputs)

    async def cancel(self) -> None:
        """Nothing here takes long enough to be cancelled."""

    def _kind(self, token: str) -> ResourceKind:
        kind = self.kind_of(token)
        if kind is None:
            raise ValueError(self._unknown("resource type", token))
        return kind

    def _unknown(self, what: str, token: str) -> str:
        return (
            f"{token}: the stand-in {self._package} provider has no such {what}. Add it to local/providers/{self._package}, "
            "or deploy this stack with the real provider."
        )


def _type_of(urn: str) -> str:
    # A child's URN has the types of its parents in front: `parent$child`.
    return urn.split("::")[-2].rpartition("$")[2]


def _change(key: str, olds: Properties, news: Properties, kind: ResourceKind) -> PropertyDiffKind | None:
    replace = key in kind.replaces
    if key not in news:
        if key in kind.computed:
            return None
        return PropertyDiffKind.DELETE_REPLACE if replace else PropertyDiffKind.DELETE
    if key not in olds:
        return PropertyDiffKind.ADD_REPLACE if replace else PropertyDiffKind.ADD
    if is_known(news[key]) and olds[key] == news[key]:
        return None
    return PropertyDiffKind.UPDATE_REPLACE if replace else PropertyDiffKind.UPDATE


def _auto_name(auto: AutoName, name: str, news: Properties, olds: Properties, seed: bytes) -> str:
    prefix = news.get(auto.prefix_property)
    kept = olds.get(auto.property)
    if isinstance(kept, str) and (prefix is None or kept.startswith(str(prefix))):
        return kept
    # 7 hex digits, as the engine's own automatic names have.
    digits = hashlib.sha256(seed or name.encode()).hexdigest()[:7]
    stem = f"{name}-" if prefix is None else str(prefix)
    if auto.lower:
        stem = stem.lower()
    physical = f"{stem}{digits}{auto.suffix}"
    if len(physical) > auto.longest:
        raise ValueError(
            f"the automatic name {physical!r} has {len(physical)} characters, {auto.longest} are allowed: "
            f"shorten the resource's name {name!r} or set {auto.property!r}"
        )
    return physical
