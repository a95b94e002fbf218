"""The property names of resource types, taken from the SDK that the program itself uses.

pulumi-terraform-bridge only warns of a property that the provider hasn't (`pkg/tfbridge/typechecker`: "an unexpected
argument … was provided") and leaves it out; AWS then gets less than was written. Here it is an error: stricter on purpose,
as a plan should find it. What a type looks like is derived once a version of the SDK and kept in the user's cache.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from local.paths import user_cache
from local.providers.values import UNKNOWN, Plain

# A property's type: None for a plain value, the name of a shape, or either in lists and maps: ["list", …], ["map", …].
Type = Any

_REGISTRY = re.compile(r'resource_modules="""\n(.*?)\n"""', re.DOTALL)
_FORMAT = "1"


@dataclass(frozen=True)
class Shape:
    """An object's properties with their types, and those that must be there."""

    properties: Mapping[str, Type]
    required: Sequence[str]


@dataclass(frozen=True)
class Schemas:
    """The shapes of one package's resource types; `cache` holds a file each. A package of None has none."""

    package: str | None
    cache: Path
    _shapes: dict[str, Mapping[str, Shape]] = field(default_factory=dict)

    @classmethod
    def of_installed(cls, package: str) -> Schemas:
        """Those of the SDK that is installed for a package."""
        try:
            version = importlib.metadata.version(f"pulumi_{package}")
        except importlib.metadata.PackageNotFoundError:
            return cls(None, Path())
        return cls(package, user_cache() / "schemas" / f"{package}-{version}-{_FORMAT}")

    def mistakes(self, token: str, inputs: Mapping[str, Plain]) -> Iterator[str]:
        """What is wrong with the names of a resource's inputs, a sentence each; nothing for a type that the SDK lacks."""
        shapes = self._of(token)
        if shapes:
            yield from _mistakes(shapes, shapes[""], inputs, "")

    def _of(self, token: str) -> Mapping[str, Shape]:
        if self.package is None:
            return {}
        if token not in self._shapes:
            file = self.cache / f"{re.sub('[:/]', '_', token)}.json"
            try:
                found = json.loads(file.read_text())
            except (OSError, ValueError):
                found = self._derived(token)
                self._keep(file, found)
            self._shapes[token] = {name: Shape(*parts) for name, parts in found.items()}
        return self._shapes[token]

    def _keep(self, file: Path, shapes: Mapping[str, Any]) -> None:
        # Without a cache to write to it is derived again in each run.
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(shapes, separators=(",", ":")))
            partial.replace(file)

    def _derived(self, token: str) -> dict[str, Any]:
        """The shape of the type's arguments under "", and those of the types that they hold under their classes' names."""
        module = self._modules.get(token)
        if module is None:
            return {}
        name, class_name = module
        sdk = importlib.import_module(name)
        arguments = getattr(sdk, f"{class_name}InitArgs", None) or getattr(sdk, f"{class_name}Args")
        shapes: dict[str, Any] = {}
        _describe(arguments, "", shapes)
        return shapes

    @cached_property
    def _modules(self) -> Mapping[str, tuple[str, str]]:
        """Where the SDK has each type: token -> (module, class)."""
        spec = importlib.util.find_spec(f"pulumi_{self.package}")
        if spec is None or spec.origin is None:
            return {}
        # The SDK's own registry, by which it finds the class of a resource that it gets from the engine.
        registry = _REGISTRY.search(Path(spec.origin).read_text())
        entries = json.loads(registry.group(1)) if registry else []
        return {token: (entry["fqn"], name) for entry in entries for token, name in entry["classes"].items()}


def _describe(arguments: type, name: str, shapes: dict[str, Any]) -> None:
    from pulumi import _types

    properties: dict[str, Type] = {}
    shapes[name] = [properties, _required(arguments)]
    for key, kind in _types.input_type_types(arguments).items():
        properties[key] = _type(kind, shapes)


def _required(arguments: type) -> list[str]:
    from pulumi import _types

    names = _types.input_type_py_to_pulumi_names(arguments)
    parameters = inspect.signature(arguments).parameters.values()
    return [names[one.name] for one in parameters if one.default is one.empty and one.name in names]


def _type(kind: Any, shapes: dict[str, Any]) -> Type:
    from pulumi import _types

    if isinstance(kind, type) and _types.is_input_type(kind):
        if kind.__qualname__ not in shapes:
            _describe(kind, kind.__qualname__, shapes)
        return kind.__qualname__
    origin, parameters = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:
        # An input: the value itself, or something that yields it.
        return next((found for part in parameters if (found := _type(part, shapes)) is not None), None)
    if origin is not None and issubclass(origin, Mapping):
        return ["map", _type(parameters[1], shapes)]
    if origin is not None and issubclass(origin, Sequence):
        return ["list", _type(parameters[0], shapes)]
    return None


def _mistakes(shapes: Mapping[str, Shape], shape: Shape, values: Mapping[str, Plain], path: str) -> Iterator[str]:
    for key, value in values.items():
        if key in shape.properties:
            yield from _within(shapes, shape.properties[key], value, f"{path}{key}")
        elif not key.startswith("__"):
            near = difflib.get_close_matches(key, shape.properties, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(shape.properties))}"
            yield f"{path}{key}: there is no such property; {hint}"
    for key in shape.required:
        if values.get(key) is None:
            yield f"{path}{key}: this property must be given"


def _within(shapes: Mapping[str, Shape], kind: Type, value: Plain, path: str) -> Iterator[str]:
    if kind is None or value is UNKNOWN:
        return
    if isinstance(kind, str):
        if isinstance(value, Mapping):
            yield from _mistakes(shapes, shapes[kind], value, f"{path}.")
    elif kind[0] == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _within(shapes, kind[1], item, f"{path}[{index}]")
    elif kind[0] == "map" and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _within(shapes, kind[1], item, f"{path}[{json.dumps(key)}]")
