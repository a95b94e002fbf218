"""What every component shares: its type token, its children's names, and the overrides that reach each child."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime.settings import get_root_resource

from components.arguments import checked
from components.errors import ArgumentError, Mistake, raise_mistakes
from components.names import Name
from components.overrides import (
    Overrides,
    child_of,
    merged,
    override_mistakes,
    property_mistakes,
    unknown_child,
)

Children = Mapping[str, str]
"""The children that overrides can name, with their type tokens: `{"dead-letters": "aws:sqs/queue:Queue"}`. A `*` stands for
what is known only later, such as a zone."""

Options = pulumi.ResourceOptions | None


class Component(pulumi.ComponentResource):
    """Base of the components, and of your own.

    A subclass checks its arguments first (`@checked` on its `__init__` does, by their annotations), calls
    `super().__init__`, creates its children with `self.options()`, and ends with `self.finish(...)`. One that says its
    `children` has overrides checked before anything is registered; without, they are checked as each child is made.
    """

    children: ClassVar[Children | None] = None

    @checked
    def __init__(self, name: Name, *, overrides: Overrides | None = None, opts: Options = None) -> None:
        self.name = name
        self._overrides = overrides or {}
        self._made: dict[str, set[tuple[str, str]]] = {}
        parent = opts.parent if opts is not None else None
        # As in a URN, the types of the parents are a part of what a child is called.
        outer = getattr(parent, "_lineage", None) or ((parent.pulumi_resource_type,) if parent is not None else ())
        self._lineage: tuple[str, ...] = (*outer, type(self).__name__)
        self._is_part = isinstance(parent, Component) and parent.name == name
        claim(self._lineage, name, self)
        self._raise(override_mistakes(self._overrides, self.children) if self.children is not None else ())
        own = pulumi.ResourceOptions(transformations=[self._register])
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
        """Registers the outputs. Raises ArgumentError for an override of a child that was not made."""
        self._raise(unknown_child(child, self._made) for child in sorted(set(self._overrides) - set(self._made)))
        self.register_outputs(dict(outputs))

    def _register(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not isinstance(args.resource, pulumi.CustomResource):
            return None
        parent = args.opts.parent if args.opts is not None else None
        if parent is self:
            claim((*self._lineage, args.type_), args.name, self)
        child = child_of(self.name, args.name, args.type_)
        made = self._made.setdefault(child, set())
        made.add((args.type_, args.name))
        changes = self._overrides.get(child)
        if not changes:
            return None
        if len(made) > 1:
            # Both would get it, or one of them by chance.
            self._raise([_ambiguous(child, made)])
        if self.children is None:
            self._raise(property_mistakes(child, changes, type(args.resource)))
        return pulumi.ResourceTransformationResult(props=merged(args.props, changes), opts=args.opts)

    @property
    def label(self) -> str:
        """What messages call it: `Queue 'jobs'`, and the parts of a component by its own name."""
        return f"{self._lineage[-2] if len(self._lineage) > 1 and self._is_part else type(self).__name__} {self.name!r}"

    def _raise(self, mistakes: Iterable[Mistake]) -> None:
        raise_mistakes(f"{type(self).__name__} {self.name!r}", mistakes)


_claims: WeakKeyDictionary[pulumi.Resource, dict[tuple[tuple[str, ...], str], Component]] = WeakKeyDictionary()


def claim(kind: tuple[str, ...], name: str, owner: Component) -> None:
    """Notes that `owner` has the `name` among its `kind`. Raises ArgumentError when another one has it already.

    Two components may come to one name from different ones of their own (`Queue("jobs")` has a queue `jobs-dead-letters`,
    and so has `Queue("jobs-dead-letters")`), which the engine would tell as a duplicate URN of neither.
    """
    root = get_root_resource()
    if root is None:
        return
    first = _claims.setdefault(root, {}).setdefault((kind, name), owner)
    if first is not owner:
        raise ArgumentError(
            owner.label,
            Mistake(
                name="name",
                value=f"the {kind[-1]} {name!r} belongs to {first.label} already",
                allowed="a name of its own for each component and its children",
                remedy="choose another name for one of the two",
            ),
        )


def _ambiguous(child: str, made: set[tuple[str, str]]) -> Mistake:
    return Mistake(
        name="overrides",
        value=repr(child),
        allowed="the name of one child",
        remedy=f"{' and '.join(f'{type_} {name}' for type_, name in sorted(made))} are both called so: name one otherwise",
    )
