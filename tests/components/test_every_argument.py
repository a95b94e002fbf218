"""Every argument of everything public, found by introspection: none takes what it can't use in silence."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest

import components
from components import (
    ApiService,
    ArgumentError,
    BacklogScaling,
    Bucket,
    Cluster,
    Component,
    EfsVolume,
    HealthCheck,
    Https,
    Image,
    LoadBalancer,
    Mount,
    Network,
    Queue,
    Reach,
    Scaling,
    ScheduledTask,
    SecretParameter,
    Size,
    Statement,
    Task,
    TaskDefinition,
    TaskNetwork,
    Use,
    WorkerService,
)
from components.arguments import HIDDEN, Between, Hidden, OneOf, argument_types
from tests.components import parts
from tests.components.deployment import deploy

Arguments = dict[str, Any]


def _workload() -> Arguments:
    return {"name": "part", "cluster": parts.cluster(), "image": parts.image(), "size": parts.SMALL}


VALID: Mapping[type, Callable[[], Arguments]] = {
    ApiService: lambda: _workload() | {"health_path": "/", "scaling": Scaling(min=1, max=2)},
    BacklogScaling: lambda: {"queue": Queue("jobs"), "min": 0, "max": 2},
    Bucket: lambda: {"name": "part", "protected": False},
    Cluster: lambda: {"name": "part", "network": parts.network(), "log_retention_days": 30, "retain_logs": False},
    Component: lambda: {"name": "part"},
    EfsVolume: lambda: {"name": "part", "network": parts.network(), "protected": False},
    HealthCheck: lambda: {"command": ["CMD", "check"]},
    Https: lambda: {"certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"},
    Image: lambda: {"name": "part", "context": str(parts.CONTEXT), "protected": False},
    LoadBalancer: lambda: {
        "name": "part",
        "network": parts.network(),
        "port": 80,
        "health_path": "/",
        "https": None,
        "idle_timeout_seconds": 60,
        "deregistration_delay_seconds": 60,
    },
    Mount: lambda: {"volume": "v", "container_path": "/mnt/v", "file_system_id": "fs", "access_point_id": "fsap"},
    Network: lambda: {"name": "part", "vpc": "own", "availability_zones": 2},
    Queue: lambda: {"name": "part"},
    Reach: lambda: {"name": "part", "security_group_id": "sg", "port": 443},
    Scaling: lambda: {"min": 1, "max": 2},
    ScheduledTask: lambda: _workload() | {"schedule": "rate(1 hour)"},
    SecretParameter: lambda: {"name": "part"},
    Size: lambda: {"cpu": 256, "memory": 512},
    Statement: lambda: {"actions": ("s3:GetObject",), "resources": ("*",)},
    Task: lambda: {"image": parts.image(), "size": parts.SMALL},
    TaskDefinition: lambda: {
        "name": "part",
        "cluster": parts.cluster(),
        "task": Task(image=parts.image(), size=parts.SMALL),
    },
    TaskNetwork: lambda: {"name": "part", "network": parts.network(), "uses": ()},
    Use: lambda: {"source": "part"},
    WorkerService: lambda: _workload() | {"scaling": BacklogScaling(queue=Queue("jobs"), min=1, max=2)},
}
"""Arguments that are right, by what takes them."""

FREE = {
    (Mount, "access_point_id"): "an id, which is mostly an output",
    (Mount, "file_system_id"): "an id, which is mostly an output",
    (Mount, "volume"): "any name that is not empty",
    (Network, "vpc"): "any Name tag, which a look-up finds or does not",
    (Reach, "name"): "any name that is not empty",
    (Reach, "security_group_id"): "an id, which is mostly an output",
    (SecretParameter, "value"): "any text is a secret",
    (Use, "source"): "any name that is not empty",
    (Use, "vpc_id"): "an id, which is mostly an output",
}
"""Arguments that take any text, and why."""

UNBOUNDED = {
    (Size, "cpu"): "checked as a pair",
    (Size, "memory"): "checked as a pair",
    (Scaling, "min"): "checked as a pair",
    (Scaling, "max"): "checked as a pair",
    (BacklogScaling, "min"): "checked as a pair",
    (BacklogScaling, "max"): "checked as a pair",
}
"""Numbers whose annotation has no range, and why."""

OUTSIDE = {"ArgumentError", "ConfigurationError", "Mistake", "Overrides"}
"""What is public and takes no arguments of a program."""

NONSENSE = "\0 no such thing {}*?"


def _public() -> list[type]:
    named = {name: getattr(components, name) for name in components.__all__ if name not in OUTSIDE}
    return [thing for thing in named.values() if isinstance(thing, type)]


def _hints(thing: type) -> Mapping[str, Any]:
    return argument_types(thing if dataclasses.is_dataclass(thing) else thing.__init__)  # type: ignore[misc]


def _wrong(hint: Any, free: bool) -> Iterator[Any]:
    """Values that the annotation forbids: of a wrong type, out of range, nonsense."""
    yield object()
    yield from _out_of_range(hint)
    if not free:
        yield NONSENSE


def _out_of_range(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Annotated:
        for rule in hint.__metadata__:
            if isinstance(rule, Between):
                yield from (rule.low - 1, rule.high + 1)
            if isinstance(rule, OneOf):
                yield from (min(rule.values) - 1, max(rule.values) + 1)
    origin = get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Sequence | Mapping):
        yield from ("text", 5)
    if origin is Literal:
        yield from ("", 0)
    if hint is bool:
        yield from ("yes", 0, None)
    if hint is int:
        yield from ("1", 1.5, True, None)
    if origin not in (Literal, None):
        for inner in get_args(hint)[:1] if origin is Annotated else ():
            yield from _out_of_range(inner)


def _is_number_without_range(hint: Any) -> bool:
    rules = hint.__metadata__ if get_origin(hint) is Annotated else ()
    plain = get_args(hint)[0] if rules else hint
    return plain in (int, float) and not any(isinstance(rule, Between | OneOf) for rule in rules)


def _is_secret(hint: Any) -> bool:
    return get_origin(hint) is Annotated and any(isinstance(rule, Hidden) for rule in hint.__metadata__)


def test_everything_public_is_tried() -> None:
    assert set(VALID) == set(_public())


@pytest.mark.parametrize("thing", VALID, ids=lambda thing: thing.__name__)
def test_what_an_argument_does_not_take_is_told_and_nothing_is_registered(thing: type) -> None:
    tried: list[str] = []

    def program() -> None:
        right = VALID[thing]()
        for name, hint in _hints(thing).items():
            assert (thing, name) in UNBOUNDED or not _is_number_without_range(hint), name
            for value in _wrong(hint, (thing, name) in FREE):
                with pytest.raises(ArgumentError) as raised:
                    thing(**{**right, name: value})
                    pytest.fail(f"{thing.__name__}({name}={value!r}) was taken")
                told = [mistake for mistake in raised.value.mistakes if mistake.name.startswith(name)]
                assert told, (name, value, str(raised.value))
                assert all(mistake.value and mistake.allowed and mistake.remedy for mistake in told)
                if _is_secret(hint):
                    assert all(mistake.value == HIDDEN for mistake in told)
            tried.append(name)

    deployment = deploy(program)
    expected = set(inspect.signature(thing).parameters) - {"container"}
    assert expected <= set(tried), "an argument without an annotation that can be checked"
    assert not [resource.name for resource in deployment.resources if resource.name.startswith("part")]


def _methods() -> list[tuple[type, str]]:
    """The methods of components that hand out uses of them."""
    found = []
    for thing in _public():
        for name, method in vars(thing).items():
            if issubclass(thing, Component) and not name.startswith("_") and inspect.isfunction(method):
                found += [(thing, name)] if len(inspect.signature(method).parameters) > 1 else []
    return [(thing, name) for thing, name in found if thing is not Component]


@pytest.mark.parametrize(("thing", "method"), _methods(), ids=lambda part: getattr(part, "__name__", part))
def test_what_a_use_does_not_take_is_told(thing: type, method: str) -> None:
    def program() -> None:
        component = thing(**VALID[thing]())
        for name, hint in argument_types(getattr(thing, method)).items():
            for value in _wrong(hint, free=False):
                with pytest.raises(ArgumentError) as raised:
                    getattr(component, method)(**{name: value})
                    pytest.fail(f"{thing.__name__}.{method}({name}={value!r}) was taken")
                assert [mistake.name for mistake in raised.value.mistakes] == [name]
                tried.append(name)

    tried: list[str] = []
    deploy(program)
    assert tried


def test_some_methods_are_tried() -> None:
    assert {(EfsVolume, "mounted_at"), (Bucket, "writing"), (SecretParameter, "injected_as")} <= set(_methods())
