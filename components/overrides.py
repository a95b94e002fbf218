"""Properties that a user sets on single children of a component, checked and merged into what the component sets."""

from __future__ import annotations

import fnmatch
import re
import sys
import typing
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import pulumi

from components.arguments import HIDDEN, Described, Hidden, argument_types
from components.errors import Mistake, did_you_mean

Overrides = Mapping[
    str,
    Annotated[
        Mapping[str, Any],
        Described("a mapping of properties to values", "write it as {'service': {'desired_count': 2}}"),
        Hidden(),
    ],
]
"""Properties to set on single children, by child: `{"service": {"enable_execute_command": True}}`.

A child is called by what follows the component's name in its own (`api-task-role` of `api`: `task-role`); the child
that bears the component's own name is called by its type (`service`, `queue`, `file-system`), one with another name by
that. Properties are spelt as in `pulumi_aws`. What an override sets wins over what the component sets: a mapping is
merged into the component's (`{"tg": {"health_check": {"matcher": "200-299"}}}` leaves path and interval), a
list is replaced whole, and None takes a property away. A child or a property that does not exist is an error. For
resource options, use Pulumi's own `transforms`.
"""


def child_of(component: str, name: str, type_: str) -> str:
    """What the resource `name` is called among the children of `component`."""
    if name == component:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type_.rpartition(":")[2]).lower()
    return name.removeprefix(f"{component}-")


def override_mistakes(overrides: Overrides, children: Mapping[str, str]) -> Iterator[Mistake]:
    """What is wrong with overrides of `children`: their types by their names, in which `*` stands for anything."""
    for child, changes in overrides.items():
        type_ = next((type_ for known, type_ in children.items() if fnmatch.fnmatchcase(child, known)), None)
        if type_ is None:
            yield unknown_child(child, children)
        else:
            yield from property_mistakes(child, changes, _class_of(type_))


def unknown_child(child: str, children: Mapping[str, Any]) -> Mistake:
    """The mistake of naming a child that there is not."""
    return Mistake(
        name="overrides",
        value=repr(child),
        allowed="a child of this component",
        remedy=did_you_mean(child, children),
    )


def property_mistakes(child: str, changes: Mapping[str, Any], resource: type) -> Iterator[Mistake]:
    """What is wrong with the properties that an override sets, nested ones too, by the SDK's class of its arguments."""
    # Each resource's arguments have a class of their own beside it: ServiceArgs for Service.
    arguments = getattr(sys.modules[resource.__module__], f"{resource.__name__}Args")
    known = argument_types(arguments.__init__)
    yield from _nested_mistakes(f"overrides[{child!r}]", changes, known, resource.__name__)


def merged(props: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with the changes in them; mappings are merged, at any depth."""
    result = dict(props)
    for key, value in changes.items():
        result[key] = _merged_value(result.get(key), value)
    return result


def _merged_value(old: Any, new: Any) -> Any:
    if not isinstance(new, Mapping):
        return new
    if isinstance(old, pulumi.Output):
        return old.apply(lambda value: _merged_value(value, new))
    if isinstance(old, Mapping):
        return merged(old, new)
    if _is_input_type(type(old)):
        given = {name: getattr(old, name) for name in argument_types(vars(type(old))["__init__"])}
        return type(old)(**merged({name: value for name, value in given.items() if value is not None}, new))
    return dict(new)


def _nested_mistakes(where: str, changes: Any, known: Mapping[str, Any], kind: str) -> Iterator[Mistake]:
    for key, value in changes.items():
        if key not in known:
            yield Mistake(
                name=where, value=repr(key), allowed=f"a property of {kind}", remedy=did_you_mean(str(key), known)
            )
            continue
        nested = _input_type(known[key])
        problem = _value_problem(value, known[key], nested)
        if problem is not None:
            yield Mistake(
                name=f"{where}[{key!r}]",
                # It may be a secret.
                value=HIDDEN if isinstance(value, str) else repr(value),
                allowed=problem,
                remedy="give a value of this type",
            )
        if nested is None or problem is not None:
            continue
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for item in items:
            if isinstance(item, Mapping):
                inner = argument_types(nested.__init__)
                yield from _nested_mistakes(f"{where}[{key!r}]", item, inner, nested.__name__.removesuffix("Args"))


def _value_problem(value: Any, hint: Any, nested: Any) -> str | None:
    """What a plain value would have to be; None for one that will do, and for one that comes later.

    Only what no provider takes: it makes a number of "3", and text of 3.
    """
    if value is None or isinstance(value, pulumi.Output | Awaitable):
        return None
    kinds = {typing.get_origin(member) or member for member in typing.get_args(hint)} - {type(None)}
    if isinstance(value, str) and str in kinds:
        return None
    if nested is not None:
        fits = isinstance(value, Mapping | Sequence | nested) and not isinstance(value, str)
        return None if fits else f"the properties of {nested.__name__.removesuffix('Args')}"
    if isinstance(value, str):
        numbers = kinds & {int, float} and not re.fullmatch(r"-?\d+(\.\d+)?", value)
        switches = bool in kinds and value not in ("true", "false")
        lists = kinds & {Sequence, Mapping}
        words = {"a number": numbers, "True or False": switches, "a list or a mapping": lists}
        return next((allowed for allowed, wrong in words.items() if wrong), None)
    if isinstance(value, Mapping | list | tuple):
        return None if kinds & {Sequence, Mapping, Any} else "a plain value"
    return None


def _input_type(hint: Any) -> Any:
    """The SDK's class of a nested property's values (`ServiceLoadBalancerArgs`); None for a plain one."""
    for member in typing.get_args(hint):
        if isinstance(member, type) and _is_input_type(member):
            return member
        found = _input_type(member)
        if found is not None:
            return found
    return None


def _is_input_type(kind: type) -> bool:
    # What pulumi.input_type, the decorator of all of the SDK's nested inputs, leaves on a class.
    return hasattr(kind, "_pulumi_input_type")


def _class_of(type_: str) -> type:
    """The SDK's class of a type token: `aws:lb/targetGroup:TargetGroup` is `pulumi_aws.lb.TargetGroup`."""
    package, module, name = type_.split(":")
    found = __import__(f"pulumi_{package}")
    if module.partition("/")[0] != "index":
        found = getattr(found, module.partition("/")[0])
    result = getattr(found, name)
    assert isinstance(result, type)
    return result
