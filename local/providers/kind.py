"""One resource type of a stand-in provider: what replaces it, what it computes, and how it lives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from local.providers.values import Plain

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

    def make(self, name: str, news: Properties, olds: Properties, seed: bytes) -> str:
        """The name for the resource `name`: the one that it has, else a new one. Raises ValueError when it is too long."""
        prefix = news.get(self.prefix_property)
        kept = olds.get(self.property)
        if isinstance(kept, str) and (prefix is None or kept.startswith(str(prefix))):
            return kept
        # 7 hex digits, as the engine's own automatic names have.
        digits = hashlib.sha256(seed or name.encode()).hexdigest()[:7]
        stem = f"{name}-" if prefix is None else str(prefix)
        if self.lower:
            stem = stem.lower()
        physical = f"{stem}{digits}{self.suffix}"
        if len(physical) > self.longest:
            raise ValueError(
                f"the automatic name {physical!r} has {len(physical)} characters, {self.longest} are allowed: "
                f"shorten the resource's name {name!r} or set {self.property!r}"
            )
        return physical


@dataclass(frozen=True)
class Created:
    """A resource's id and the outputs that aren't inputs."""

    id: str
    computed: Properties = field(default_factory=dict)


class NotReady(Exception):
    """The resource was made or changed, and then did not become what was asked for; `made` is what it is.

    The engine writes what was asked for into its state all the same (`ErrorResourceInitFailed` of its protocol).
    """

    def __init__(self, made: Created, reason: str) -> None:
        super().__init__(reason)
        self.made = made


class ResourceKind:
    """One resource type. `replaces` names the inputs whose change makes a new resource, `secret` the secret outputs."""

    auto_name: AutoName | None = None
    replaces: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    secret: frozenset[str] = frozenset()

    def mistakes(self, inputs: Properties) -> Sequence[str]:
        """What the provider's own validation says of the inputs; none of them is null, some may be `UNKNOWN`."""
        return ()

    def ignored(self, old: Properties, inputs: Properties) -> frozenset[str]:
        """Inputs whose difference the provider plans nothing for. Raises ValueError for a change that it refuses."""
        return frozenset()

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        """What a preview says of computed outputs other than that a new resource's are unknown and an old one's stay.

        `old` is the state, empty for a new resource; a value is `UNKNOWN` where the provider plans a change to something
        that it doesn't know yet.
        """
        return {}

    def create(self, name: str, inputs: Properties) -> Created:
        """May raise NotReady."""
        raise NotImplementedError

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        """Returns what is computed anew. May raise NotReady."""
        raise NotImplementedError

    def delete(self, resource_id: str, state: Properties) -> None:
        """Deletes it; it may be gone already."""
        raise NotImplementedError

    def read(self, resource_id: str, state: Properties) -> Properties | None:
        """The state as the cloud has it now; None when it isn't there."""
        return state
