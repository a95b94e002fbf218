"""What the stand-in providers share: the engine's protocol over kinds of resources."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from pulumi.provider.experimental.property_value import PropertyValue
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
    ParameterizeRequest,
    ParameterizeResponse,
    ParametersValue,
    PropertyDiff,
    PropertyDiffKind,
    Provider,
    ReadRequest,
    ReadResponse,
    UpdateRequest,
    UpdateResponse,
)

from local.providers.kind import NotReady, Properties, ResourceKind
from local.providers.passed_through import PassedThrough
from local.providers.refresh import inputs_from, is_write_only, without_write_only
from local.providers.schema import Schemas
from local.providers.values import UNKNOWN, Plain, from_plain, is_known, to_plain


class StandIn(Provider):
    """Serves the types of `kind_of` and the functions of `answer`; a name that isn't there is an error that names it.

    A package that has no stand-in of its own has one that knows no name at all. In a preview a type that isn't there is
    passed through instead: its inputs are planned as they are, its outputs stay unknown, and it is noted for whoever has
    asked for the preview.

    A preview plans as pulumi-terraform-bridge does, whose `Create` and `Update` answer a preview with the state that
    Terraform has planned (`pkg/tfbridge/provider.go`, ProposedState): a new resource has its inputs, its automatic name
    among them, and no id yet. The defaults of a provider's schema are no part of it: they are unknown.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._schemas = Schemas.of_installed(package)
        self._passed_through = PassedThrough.from_environment()

    def kind_of(self, token: str) -> ResourceKind | None:
        return None

    def answer(self, token: str, arguments: Properties) -> Properties | None:
        """The result of a provider function, or None for one that isn't known. Raises ValueError for bad arguments."""
        return None

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
        # The SDK would send the boolean as a number that is none, which protobuf warns of.
        return DiffResponse()

    async def configure(self, request: ConfigureRequest) -> ConfigureResponse:
        self.configured(to_plain(request.args))
        return ConfigureResponse(accept_secrets=False, supports_preview=True)

    async def parameterize(self, request: ParameterizeRequest) -> ParameterizeResponse:
        # A bridged Terraform provider: the package is a value of the bridge's own plugin.
        value = request.parameters
        if not isinstance(value, ParametersValue):
            raise ValueError(f"{self._package}: a stand-in is parameterized by an installed SDK only")
        return ParameterizeResponse(value.name, value.version)

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
        if kind is None and self._passed_through is None:
            return CheckResponse(request.new_inputs, [CheckFailure("", self._unknown("resource type", token))])
        news, olds = to_plain(request.new_inputs), to_plain(request.old_inputs)
        given = _given(news)
        mistakes = [*self._schemas.mistakes(token, given), *(kind.mistakes(given) if kind else ())]
        if mistakes:
            return CheckResponse(request.new_inputs, [CheckFailure("", mistake) for mistake in mistakes])
        if kind is None:
            assert self._passed_through is not None
            self._passed_through.note(request.urn)
            return CheckResponse(request.new_inputs)
        added = self.defaults(token, news)
        if kind.auto_name is not None and kind.auto_name.property not in given:
            added[kind.auto_name.property] = kind.auto_name.make(request.name, given, olds, request.random_seed)
        return CheckResponse(request.new_inputs | from_plain(added))

    async def diff(self, request: DiffRequest) -> DiffResponse:
        kind = self._kind(_type_of(request.urn))
        olds, news = to_plain(request.old_state), to_plain(request.new_inputs)
        ignored = kind.ignored(olds, news)
        detailed: dict[str, PropertyDiff] = {}
        for key in sorted((olds.keys() | news.keys()) - ignored):
            change = None if is_write_only(key) else _change(key, olds, news, kind)
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
            planned = dict.fromkeys(kind.computed, UNKNOWN) | kind.planned({}, inputs) | _given(inputs)
            return CreateResponse("", _state(kind, planned))
        try:
            created = await asyncio.to_thread(kind.create, request.name, inputs)
        except NotReady as error:
            raise Unfinished(error.made.id, _state(kind, inputs | error.made.computed), str(error)) from error
        return CreateResponse(created.id, _state(kind, inputs | created.computed))

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        kind = self._kind(_type_of(request.urn))
        olds, inputs = to_plain(request.olds), to_plain(request.news)
        kept = {key: value for key, value in olds.items() if key in kind.computed}
        if request.preview:
            return UpdateResponse(_state(kind, kept | kind.planned(olds, inputs) | _given(inputs)))
        try:
            computed = await asyncio.to_thread(kind.update, request.resource_id, olds, inputs)
        except NotReady as error:
            raise Unfinished(error.made.id, _state(kind, kept | inputs | error.made.computed), str(error)) from error
        return UpdateResponse(_state(kind, kept | inputs | computed))

    async def delete(self, request: DeleteRequest) -> None:
        kind = self._kind(_type_of(request.urn))
        await asyncio.to_thread(kind.delete, request.resource_id, to_plain(request.properties))

    async def read(self, request: ReadRequest) -> ReadResponse:
        kind = self._kind(_type_of(request.urn))
        if not request.properties:
            raise ValueError(f"{_type_of(request.urn)}: the stand-in provider can't import {request.resource_id!r}")
        found = await asyncio.to_thread(kind.read, request.resource_id, to_plain(request.properties))
        if found is None:
            return ReadResponse("")
        inputs = inputs_from(without_write_only(found), to_plain(request.inputs))
        return ReadResponse(request.resource_id, _state(kind, found), from_plain(inputs))

    async def cancel(self) -> None:
        """Nothing here takes long enough to be cancelled."""

    def _kind(self, token: str) -> ResourceKind:
        kind = self.kind_of(token)
        if kind is None and self._passed_through is not None:
            return ResourceKind()
        if kind is None:
            raise ValueError(self._unknown("resource type", token))
        return kind

    def _unknown(self, what: str, token: str) -> str:
        return (
            f"{token}: the stand-in {self._package} provider has no such {what}. Add it to local/providers/{self._package}, "
            "or deploy this stack with the real provider."
        )


class Unfinished(Exception):
    """A resource exists, but isn't what was asked for: its id, its state, and why."""

    def __init__(self, resource_id: str, state: dict[str, PropertyValue], reason: str) -> None:
        super().__init__(reason)
        self.resource_id = resource_id
        self.state = state


def _given(inputs: Properties) -> Properties:
    # The bridge leaves nulls out of what it checks and creates (`Provider.Check`, `Provider.Create`: SkipNulls).
    return {key: value for key, value in inputs.items() if value is not None}


def _state(kind: ResourceKind, state: Properties) -> dict[str, PropertyValue]:
    values = from_plain(without_write_only(state))
    return values | {key: PropertyValue(values[key].value, is_secret=True) for key in kind.secret & values.keys()}


def _type_of(urn: str) -> str:
    # A child's URN has the types of its parents in front: `parent$child`.
    return urn.split("::")[-2].rpartition("$")[2]


def _change(key: str, olds: Properties, news: Properties, kind: ResourceKind) -> PropertyDiffKind | None:
    replace = key in kind.replaces
    if news.get(key) is None:
        if key in kind.computed or olds.get(key) is None:
            return None
        return PropertyDiffKind.DELETE_REPLACE if replace else PropertyDiffKind.DELETE
    if olds.get(key) is None:
        return PropertyDiffKind.ADD_REPLACE if replace else PropertyDiffKind.ADD
    if is_known(news[key]) and olds[key] == news[key]:
        return None
    return PropertyDiffKind.UPDATE_REPLACE if replace else PropertyDiffKind.UPDATE
