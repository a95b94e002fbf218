"""Arguments checked against their annotations, all of them at once, before anything is registered.

The annotation of an argument says what it takes, and a rule beside the type says the rest:

    @checked
    def __init__(self, name: Name, *, port: Annotated[int, Between(1, 65_535)] = 8080, nat: Literal["none", "single"]): ...

Types are read as a type checker reads them, with three differences: `True` is no `int`, a string is no sequence, and an
output (or an awaitable) passes unseen wherever `pulumi.Input` or `pulumi.Output` is allowed, since its value comes later.
Dataclasses call `check_fields(self)` in `__post_init__`.

Written here and not taken from a library: what would check the types (typeguard, beartype, pydantic) knows neither inputs
nor the form of the messages, and every program that uses the components would install it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, Literal, ParamSpec, Protocol, get_args, get_origin

import pulumi

from components.errors import Mistake, did_you_mean, raise_mistakes, spelled

_P = ParamSpec("_P")

HIDDEN = "(secret, not shown)"


class Rule(Protocol):
    """What a plain value of the right type must be beside its type."""

    @property
    def allowed(self) -> str:
        """The same in words, whatever the value; empty when the type says it all."""

    def mistake(self, name: str, value: Any) -> Mistake | None:
        """What is wrong with the value of the argument `name`; None when nothing is."""


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included; `because` names the source of the bounds in the message."""

    low: float
    high: float
    because: str = ""

    @property
    def allowed(self) -> str:
        return f"{self.low:,} to {self.high:,}" + (f" ({self.because})" if self.because else "")

    def mistake(self, name: str, value: Any) -> Mistake | None:
        if self.low <= value <= self.high:
            return None
        nearest = min(max(value, self.low), self.high) if value == value else self.low
        return Mistake(name=name, value=repr(value), allowed=self.allowed, remedy=f"the nearest is {nearest}")


@dataclass(frozen=True)
class OneOf:
    """One of a few numbers."""

    values: tuple[int, ...]

    @property
    def allowed(self) -> str:
        return ", ".join(map(str, self.values))

    def mistake(self, name: str, value: Any) -> Mistake | None:
        if value in self.values:
            return None
        nearest = min(self.values, key=lambda known: abs(known - value))
        return Mistake(name=name, value=repr(value), allowed=self.allowed, remedy=f"the nearest is {nearest}")


@dataclass(frozen=True)
class Matching:
    """Text that a regular expression matches as a whole. `allowed` says it in words, `remedy` what to write."""

    pattern: str
    allowed: str
    remedy: str = "correct it"

    def mistake(self, name: str, value: Any) -> Mistake | None:
        if re.fullmatch(self.pattern, value):
            return None
        return Mistake(name=name, value=repr(value), allowed=self.allowed, remedy=self.remedy)


@dataclass(frozen=True)
class Valid:
    """Whatever `problem` finds nothing wrong with: it answers what is allowed instead, in words, or None.

    `allowed` says it without a value, for a configuration key.
    """

    problem: Callable[[Any], str | None]
    remedy: str = "correct it"
    allowed: str = ""

    def mistake(self, name: str, value: Any) -> Mistake | None:
        allowed = self.problem(value)
        return Mistake(name=name, value=repr(value), allowed=allowed, remedy=self.remedy) if allowed else None


@dataclass(frozen=True)
class Described:
    """Words for a type whose own name says too little: `allowed` and `remedy` of a value of another type."""

    allowed: str
    remedy: str

    def mistake(self, name: str, value: Any) -> Mistake | None:
        return None


class Hidden:
    """The value is a secret: no message shows it."""

    allowed = ""

    def mistake(self, name: str, value: Any) -> Mistake | None:
        return None


Text = Annotated[str, Matching(r"(?s).*\S.*", "text that is not empty", "give it, or leave the argument out")]
"""A string with something in it."""


def checked(constructor: Callable[_P, None]) -> Callable[_P, None]:
    """An `__init__` that raises ArgumentError with every argument that its annotations don't allow, before it runs.

    What is wrong with arguments only together is for the constructor itself. A missing or an unknown argument is
    Python's own TypeError, unless the constructor unpacks a TypedDict: that lets an unknown one through to here.
    """
    signature = inspect.signature(constructor)
    others = next((name for name, one in signature.parameters.items() if one.kind is one.VAR_KEYWORD), "")

    @functools.wraps(constructor)
    def check_and_construct(*args: _P.args, **kwargs: _P.kwargs) -> None:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        arguments |= arguments.pop(others, {})
        itself, name = args[0], arguments.get("name")
        label = f"{type(itself).__name__} {name!r}" if isinstance(name, str) else type(itself).__name__
        unknown = arguments.keys() - signature.parameters.keys()
        raise_mistakes(label, [*_unknown(constructor, unknown), *argument_mistakes(constructor, arguments)])
        constructor(*args, **kwargs)

    return check_and_construct


def _unknown(constructor: Callable[..., Any], unpacked: Set[str]) -> Iterator[Mistake]:
    for name in sorted(unpacked - argument_types(constructor).keys()):
        yield Mistake(
            name=name,
            value="an argument that is not known",
            allowed="the arguments that the documentation names",
            remedy=did_you_mean(name, argument_types(constructor)),
        )


def check_fields(instance: Any) -> None:
    """Raises ArgumentError for the fields of a dataclass that its annotations don't allow."""
    kind = type(instance)
    values = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    raise_mistakes(kind.__name__, argument_mistakes(kind, values))


def check_call(label: str, function: Callable[..., Any], **values: Any) -> None:
    """Raises ArgumentError for arguments of a method that its annotations don't allow; `label` is the component's."""
    raise_mistakes(label, argument_mistakes(function, values))


def argument_mistakes(annotated: Callable[..., Any], values: Mapping[str, Any]) -> Iterator[Mistake]:
    """The mistakes among `values`, each checked against the annotation of its name."""
    hints = argument_types(annotated)
    for name, value in values.items():
        if name in hints:
            yield from _mistakes(name, value, hints[name])


@functools.cache
def argument_types(annotated: Callable[..., Any]) -> Mapping[str, Any]:
    """The annotations of a function's arguments or of a dataclass's fields, with their rules.

    Keyword arguments that are unpacked from a TypedDict (`**container: Unpack[ContainerArguments]`) stand by themselves.
    """
    # pulumi.Input names Output in a string, which is looked up where it is used.
    names = {"Output": pulumi.Output, "T": Any}
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(annotated, localns=names, include_extras=True).items():
        if get_origin(hint) is typing.Unpack:
            found |= typing.get_type_hints(get_args(hint)[0], localns=names, include_extras=True)
        elif name != "return":
            found[name] = hint
    return found


def _mistakes(name: str, value: Any, hint: Any) -> Iterator[Mistake]:
    hint, rules = _unwrapped(hint)
    found = list(_type_mistakes(name, value, hint, rules))
    if not found and _is_plain(value):
        found = [mistake for rule in rules if (mistake := rule.mistake(name, value)) is not None]
    if any(isinstance(rule, Hidden) for rule in rules):
        found = [dataclasses.replace(mistake, value=HIDDEN) for mistake in found]
    yield from found


def _unwrapped(hint: Any) -> tuple[Any, list[Rule]]:
    """The type and the rules of `Annotated[type, rules...]`."""
    rules: list[Rule] = []
    while get_origin(hint) is Annotated:
        rules = [*hint.__metadata__, *rules]
        hint = hint.__origin__
    return hint, rules


def _type_mistakes(name: str, value: Any, hint: Any, rules: Sequence[Rule]) -> Iterator[Mistake]:
    if get_origin(hint) in (typing.Union, types.UnionType):
        yield from _union_mistakes(name, value, hint)
        return
    if not _is_a(value, hint):
        words = next((rule for rule in rules if isinstance(rule, Described)), None)
        allowed = words.allowed if words else describe(hint)
        remedy = words.remedy if words else _type_remedy(value, hint)
        yield Mistake(name=name, value=_shown(value, hint), allowed=allowed, remedy=remedy)
        return
    origin, inner = get_origin(hint), get_args(hint)
    if origin is not None and _subclass(origin, Mapping):
        for key, item in value.items():
            yield from _mistakes(f"{name} key", key, inner[0])
            yield from _mistakes(f"{name}[{key!r}]", item, inner[1])
    elif origin is not None and _subclass(origin, Sequence):
        for index, item in enumerate(value):
            yield from _mistakes(f"{name}[{index}]", item, inner[0])


def _union_mistakes(name: str, value: Any, hint: Any) -> Iterator[Mistake]:
    members = get_args(hint)
    fitting = next((member for member in members if _is_a(value, member)), None)
    if fitting is not None:
        yield from _mistakes(name, value, fitting)
        return
    words = next((rule for m in members for rule in _unwrapped(m)[1] if isinstance(rule, Described)), None)
    bare = [_unwrapped(member)[0] for member in members]
    plain = [member for member in bare if not _comes_later(member) and member is not type(None)] or bare
    optional = [type(None)] if type(None) in bare and type(None) not in plain else []
    allowed = words.allowed if words else " or ".join(map(describe, [*plain, *optional]))
    remedy = words.remedy if words else _type_remedy(value, plain[0])
    yield Mistake(name=name, value=_shown(value, hint), allowed=allowed, remedy=remedy)


def _is_a(value: Any, hint: Any) -> bool:
    hint = _unwrapped(hint)[0]
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    origin = get_origin(hint)
    if origin is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, member) for member in get_args(hint))
    kind = origin or hint
    if kind in (int, float):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if _subclass(kind, Sequence) and kind is not str:
        return isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return isinstance(value, kind)


def _comes_later(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    return kind in (pulumi.Output, Awaitable)


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, pulumi.Output | Awaitable)


def _subclass(kind: Any, of: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, of)


_NOUNS: Mapping[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "None",
    Any: "anything",
}


def allowed_by(hint: Any) -> str:
    """What an annotation allows, in words: those of its rule, or else the type's."""
    return next((rule.allowed for rule in _unwrapped(hint)[1] if rule.allowed), describe(hint))


def describe(hint: Any) -> str:
    """A type in words."""
    hint = _unwrapped(hint)[0]
    if hint in _NOUNS:
        return _NOUNS[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return spelled([str(value) for value in inner])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(member) for member in inner if not _comes_later(member))
    if _comes_later(hint):
        return f"an output of {describe(inner[0])}" if inner else "an output"
    kind = origin or hint
    if _subclass(kind, Mapping):
        return f"a mapping of {describe(inner[0])} to {describe(inner[1])}" if inner else "a mapping"
    if _subclass(kind, Sequence):
        item = describe(inner[0]) if inner else ""
        return f"a list of {item.removeprefix('a ').removeprefix('an ')}" if inner else "a list"
    return _with_article(getattr(kind, "__name__", str(kind)))


def _with_article(noun: str) -> str:
    # By the sound: a Use, an Https.
    return f"an {noun}" if noun[0] in "AEIOaeio" or noun.startswith("Http") else f"a {noun}"


def _type_remedy(value: Any, hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal and isinstance(value, str):
        return did_you_mean(value, map(str, inner))
    if isinstance(value, str) and origin is not None and _subclass(origin, Sequence):
        return f"write it as [{value!r}]"
    if isinstance(value, str) and hint in (int, float) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"write it without quotes: {value}"
    if hint is str and not isinstance(value, pulumi.Output):
        return "write it in quotes" if isinstance(value, int | float) else "give text"
    return f"give {describe(hint)}"


def _holds_secrets(hint: Any) -> bool:
    """Whether a value of this type may hold a secret somewhere: it is not shown when its own type is wrong."""
    plain, rules = _unwrapped(hint)
    return any(isinstance(rule, Hidden) for rule in rules) or any(map(_holds_secrets, get_args(plain)))


def _shown(value: Any, hint: Any) -> str:
    if _holds_secrets(hint):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float | str | bytes | list | tuple | dict | set):
        return repr(value)
    # The representation of anything else may be pages long, or hold what must not be shown.
    return _with_article(type(value).__name__)
