"""What every component shares: its type token, its children's names, and the overrides that reach each child."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pulumi

from components.errors import ArgumentError, Mistake, did_you_mean
from components.names import check_name

Overrides = Mapping[str, Mapping[str, Any]]
"""Properties to set on single children, by child: `{"service": {"enable_execute_command": True}}`.

A child is called by what follows the component's name in its own (`api-task-role` of `api`: `task-role`); the child
that bears the component's own name is called by its type (`service`, `queue`, `file-system`). Properties are spelt as
in `pulumi_aws`. What an override sets wins over what the component sets. A child or a property that does not exist is
an error. For resource options, use Pulumi's own `transforms`.
"""


class Component(pulumi.ComponentResource):
    """Base of the components.

    A subclass checks its arguments first, calls `super().__init__`, creates its children with `self.options()`, and
    ends with `self.finish(...)`.
    """

    def __init__(
        self, name: str, *, overrides: Overrides | None = None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        check_name(type(self).__name__, name)
        self.name = name
        self._overrides = overrides or {}
        self._children: dict[str, tuple[str, str]] = {}
        own = pulumi.ResourceOptions(transformations=[self._override])
        super().__init__(
            f"ecs-file-ingest:index:{type(self).__name__}", name, None, pulumi.ResourceOptions.merge(opts, own)
        )

    def options(self, **options: Any) -> pulumi.ResourceOptions:
        """Options of a child: `parent` and what this one child needs.

        The component's own options are never merged in: an outer `parent` would take the children out of the component,
        and `protect` or `depends_on` would leak to each of them.
        """
        return pulumi.ResourceOptions(parent=self, **options)

    def finish(self, outputs: Mapping[str, pulumi.Input[Any]]) -> None:
        """Registers the outputs. Raises ArgumentError for an override of a child that does not exist."""
        unknown = sorted(set(self._overrides) - set(self._children))
        if unknown:
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}",
                *(
                    Mistake(
                        name="overrides",
                        value=repr(child),
                        allowed="a child of this component",
                        remedy=did_you_mean(child, self._children),
                    )
                    for child in unknown
                ),
            )
        self.register_outputs(dict(outputs))

    def _override(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not isinstance(args.resource, pulumi.CustomResource):
            return None
        child = _child(self.name, args.name, args.type_)
        # Two children that an override can't tell apart would both get it, or one of them by chance.
        if self._children.setdefault(child, (args.type_, args.name)) != (args.type_, args.name):
            raise AssertionError(
                f"{args.type_} {args.name} and {self._children[child]} are both {child!r} to an override"
            )
        changes = self._overrides.get(child)
        if not changes:
            return None
        unknown = sorted(set(changes) - set(args.props))
        if unknown:
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r}",
                *(
                    Mistake(
                        name=f"overrides[{child!r}]",
                        value=repr(key),
                        allowed=f"a property of {args.type_}",
                        remedy=did_you_mean(key, args.props),
                    )
                    for key in unknown
                ),
            )
        return pulumi.ResourceTransformationResult(props={**args.props, **changes}, opts=args.opts)


def _child(component: str, name: str, type_: str) -> str:
    if name.startswith(f"{component}-"):
        return name.removeprefix(f"{component}-")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type_.rpartition(":")[2]).lower()
