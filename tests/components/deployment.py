"""Runs a Pulumi program against mocks, and what it registered, as values that a test can ask."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pulumi_aws
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import ROOT, SETTINGS
from pulumi.runtime.stack import run_in_stack

from tests.components import cloud

with warnings.catch_warnings():
    # Modules of the SDK warn about classes of their own when they are loaded, which they are when first used. Loaded
    # here, so that any later warning is about what a component does.
    warnings.simplefilter("ignore", DeprecationWarning)
    for loaded in (pulumi_aws.ec2.Vpc, pulumi_aws.s3.Bucket):
        assert loaded

PROJECT = "ecs-file-ingest"
Ecs = Callable[[dict[str, Any]], dict[str, Any]]
# By its name, because the package brings no types and its stubs may or may not be installed.
_message_to_dict = importlib.import_module("google.protobuf.json_format").MessageToDict
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"


@dataclass(frozen=True)
class Resource:
    """A registered resource, as the engine sees it: inputs in camelCase, secrets and unknowns marked."""

    type: str
    name: str
    parent: str
    raw_inputs: Mapping[str, Any]
    options: resource_pb2.RegisterResourceRequest

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs without the marks of secrets."""
        plain = _plain(self.raw_inputs)
        assert isinstance(plain, dict)
        return plain

    def secret(self, key: str) -> bool:
        """Whether this input goes to the engine as a secret."""
        value = self.raw_inputs[key]
        return isinstance(value, dict) and value.get(_SIGNATURE) == _SECRET

    def json(self, key: str) -> Any:
        """An input that is a JSON document."""
        return json.loads(self.inputs[key])

    @property
    def depends_on(self) -> set[str]:
        """The names of the resources that this one waits for, as `type::name`."""
        return {urn.split("::", 2)[2].split("$")[-1] for urn in self.options.dependencies}


@dataclass
class Deployment:
    """What a program registered, invoked and exported."""

    resources: list[Resource] = field(default_factory=list)
    invokes: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def all(self, type_: str) -> list[Resource]:
        """The providers' resources whose type ends with this, as `sqs/queue:Queue` or `:Queue`."""
        return [item for item in self.resources if item.options.custom and item.type.endswith(type_)]

    def one(self, type_: str, name: str | None = None) -> Resource:
        """The only resource of the type, or the only one with this name."""
        found = [resource for resource in self.all(type_) if name in (None, resource.name)]
        assert len(found) == 1, f"{type_} {name}: {[resource.name for resource in self.all(type_)]}"
        return found[0]

    def names(self, type_: str) -> list[str]:
        """The names of the resources of the type, sorted."""
        return sorted(resource.name for resource in self.all(type_))

    def graph(self) -> dict[tuple[str, str, str], list[str]]:
        """The inputs that are set of each resource, by its type, name and parent."""
        return {(resource.type, resource.name, resource.parent): sorted(resource.inputs) for resource in self.resources}


def deploy_twice(program: Callable[[], object], **arguments: Any) -> Deployment:
    """The deployment by an update, after a check that a preview, with nothing computed known, registers the same."""
    update, preview = deploy(program, **arguments), deploy(program, preview=True, **arguments)
    assert update.graph() == preview.graph()
    return update


def deploy(
    program: Callable[[], object],
    *,
    preview: bool = False,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    stack: str = "test",
    ecs: Ecs | None = None,
) -> Deployment:
    """Runs the program as `pulumi up` would, or as `pulumi preview` with nothing computed known.

    `ecs` answers what a service runs, given its inputs; without it each runs what was asked for.
    """
    values = {**(config or {}), **(secrets or {})}

    def run() -> Deployment:
        return contextvars.copy_context().run(_deploy, program, preview, values, list(secrets or {}), stack, ecs)

    # A thread of its own, with an event loop and a context of its own: the SDK keeps its state in both.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(run).result()


def _deploy(
    program: Callable[[], object],
    preview: bool,
    config: dict[str, str],
    secrets: list[str],
    stack: str,
    ecs: Ecs | None,
) -> Deployment:
    deployment = Deployment()
    set_all_config(
        {f"{PROJECT}:{key}" if ":" not in key else key: config[key] for key in config},
        [f"{PROJECT}:{key}" for key in secrets],
    )
    loops = _Loops()
    loop = loops.add()
    # The SDK talks to the monitor in threads, and makes itself a loop in each, which it never closes.
    loop.set_default_executor(ThreadPoolExecutor(initializer=loops.add))
    try:
        cloud_mocks = _Cloud(deployment, preview, ecs or _as_asked)
        mocks.set_mocks(
            cloud_mocks, project=PROJECT, stack=stack, preview=preview, monitor=_Monitor(cloud_mocks, deployment)
        )
        # As pulumi.runtime.test does: what a program that failed has left belongs to a loop that is gone.
        SETTINGS.rpc_manager.clear()
        SETTINGS.outputs.clear()
        ROOT.set(None)
        # An output made outside of the program belongs to another loop and would never come.
        loop.run_until_complete(asyncio.wait_for(run_in_stack(lambda: _run(program)), timeout=60))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loops.close()
    return deployment


class _Loops:
    def __init__(self) -> None:
        self._loops: list[asyncio.AbstractEventLoop] = []

    def add(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loops.append(loop)
        return loop

    def close(self) -> None:
        for loop in self._loops:
            loop.close()


def _as_asked(service: dict[str, Any]) -> dict[str, Any]:
    count = service["desiredCount"]
    return cloud.ecs_service(service["taskDefinition"], running=count, desired=count)


def _run(program: Callable[[], object]) -> None:
    program()


class _Cloud(mocks.Mocks):
    def __init__(self, deployment: Deployment, preview: bool, ecs: Ecs) -> None:
        self._deployment = deployment
        self._preview = preview
        self._ecs = ecs

    def call(self, args: mocks.MockCallArgs) -> Any:
        self._deployment.invokes.append(args.token)
        if args.token == "aws:ecs/getService:getService":
            return {"id": args.args["serviceName"], **args.args, **self._ecs(self._service(args.args["serviceName"]))}
        return cloud.answer(args.token, args.args)

    def _service(self, physical_name: str) -> dict[str, Any]:
        services = self._deployment.all("aws:ecs/service:Service")
        named = [s.inputs for s in services if cloud.physical_name(s.name, s.inputs) == physical_name]
        # Two components of one name have one physical name here, where AWS's differ.
        return max(named, key=lambda inputs: int(inputs["desiredCount"]), default={})

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if not args.custom:
            return "", {}
        if self._preview:
            return "", args.inputs
        return cloud.identity(args.typ, args.name), {**cloud.computed(args.typ, args.name, args.inputs), **args.inputs}


class _Monitor(mocks.MockMonitor):
    def __init__(self, cloud_mocks: _Cloud, deployment: Deployment) -> None:
        super().__init__(cloud_mocks)
        self._deployment = deployment

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            self._deployment.resources.append(
                Resource(
                    type=request.type,
                    name=request.name,
                    parent=request.parent.split("::", 2)[-1],
                    raw_inputs=_message_to_dict(request.object),
                    options=request,
                )
            )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if "::pulumi:pulumi:Stack::" in request.urn:
            self._deployment.outputs.update(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return _plain(value["value"])
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def statements(document: str) -> Iterator[tuple[list[str], list[str], dict[str, Any]]]:
    """Actions, resources and conditions of each statement of a policy document."""
    for statement in json.loads(document)["Statement"]:
        actions, resources = statement["Action"], statement.get("Resource", [])
        yield (
            [actions] if isinstance(actions, str) else actions,
            [resources] if isinstance(resources, str) else resources,
            statement.get("Condition", {}),
        )
