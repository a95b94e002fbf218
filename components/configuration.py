"""Reading a stack's configuration into a frozen dataclass, and telling every mistake in it at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

from components.errors import Mistake, did_you_mean

_TYPES = {"bool": "boolean", "int": "integer", "str": "string"}
_HIDDEN = "(secret, not shown)"


class ConfigurationError(pulumi.RunError):
    """The stack's configuration has mistakes. Pulumi prints it as one message, and no resource was registered yet."""

    def __init__(self, stack: str, mistakes: Collection[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = [f"The configuration of stack {stack!r} has {count}. Nothing was deployed.", *map(str, self.mistakes)]
        super().__init__("\n  ".join(lines))


@dataclass(frozen=True)
class Key:
    """What a configuration key means and takes, kept beside the field that holds its value."""

    meaning: str
    allowed: str
    valid: Callable[[Any], bool | str]
    secret: bool


def key(default: Any, meaning: str, *, allowed: str, valid: Callable[[Any], bool | str], secret: bool = False) -> Any:
    """A field with its configuration key: `api_cpu` is read from `apiCpu`. `valid` gets a value of the field's type and
    answers True, or False, or what is wrong with it."""
    return dataclasses.field(default=default, metadata={"key": Key(meaning, allowed, valid, secret)})


def key_name(field: str) -> str:
    """The configuration key of a field: camelCase, as Pulumi's own keys."""
    return re.sub(r"_(.)", lambda match: match[1].upper(), field)


def schema(settings: type) -> dict[str, dict[str, Any]]:
    """The `config` section of Pulumi.yaml that says what `settings` says.

    No key is marked as secret there: Pulumi demands that such a key is encrypted in each stack file, its default
    included.
    """
    return {
        key_name(field.name): {
            "type": _TYPES[str(field.type)],
            "default": field.default,
            "description": f"{_key(field).meaning} Allowed: {_key(field).allowed}.",
        }
        for field in dataclasses.fields(settings)
    }


def stack_values(namespace: str) -> tuple[dict[str, str], set[str]]:
    """The raw values of the namespace's keys, by key, and which of them are encrypted. Other namespaces stay out."""
    values = {**get_config_env(), **CONFIG.get()}
    prefix = f"{namespace}:"
    own = {name.removeprefix(prefix): str(value) for name, value in values.items() if name.startswith(prefix)}
    return own, {name for name in own if is_config_secret(f"{prefix}{name}")}


def read(settings: type, values: Mapping[str, str], encrypted: Collection[str]) -> tuple[dict[str, Any], list[Mistake]]:
    """The fields of `settings` read from raw values, those that are missing or right, and the mistakes of the
    others."""
    fields = {key_name(field.name): field for field in dataclasses.fields(settings)}
    mistakes = [_unknown(name, values[name], name in encrypted, fields) for name in sorted(set(values) - set(fields))]
    good: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in values:
            good[field.name] = field.default
            continue
        mistake, value = _value(name, values[name], field, name in encrypted)
        if mistake is None:
            good[field.name] = value
        else:
            mistakes.append(mistake)
    return good, mistakes


def given(values: Mapping[str, Any], *names: str) -> str:
    """`a, b` of the fields named, for the message of a mistake that is theirs together."""
    return ", ".join(str(values[name]) if values[name] != "" else "(empty)" for name in names)


def keys(*names: str) -> str:
    """The configuration keys of the fields named, for the same purpose."""
    return ", ".join(map(key_name, names))


def _key(field: dataclasses.Field[Any]) -> Key:
    found = field.metadata["key"]
    assert isinstance(found, Key)
    return found


def _unknown(name: str, value: str, hidden: bool, known: Iterable[str]) -> Mistake:
    return Mistake(
        name=name,
        value=_HIDDEN if hidden else value,
        allowed="a key that Pulumi.yaml describes",
        remedy=f"{did_you_mean(name, known)} (pulumi config rm {name} removes it)",
    )


def _value(name: str, raw: str, field: dataclasses.Field[Any], encrypted: bool) -> tuple[Mistake | None, Any]:
    spec = _key(field)
    if spec.secret and raw and not encrypted:
        return _mistake(name, _HIDDEN, "an encrypted value", f"pulumi config set --secret {name}"), None
    shown = _HIDDEN if spec.secret or encrypted else raw or "(empty)"
    try:
        value = _PARSERS[str(field.type)](raw)
        verdict = spec.valid(value)
    except ValueError:
        verdict = False
    if verdict is True:
        return None, value
    allowed = f"{spec.allowed} ({verdict})" if verdict else spec.allowed
    change = f"--secret {name}" if spec.secret else f"{name} {_quoted(field.default)}"
    return _mistake(name, shown, allowed, f"pulumi config set {change}, or any other value allowed"), None


def _mistake(name: str, value: str, allowed: str, remedy: str) -> Mistake:
    return Mistake(name=name, value=value, allowed=allowed, remedy=remedy)


def _boolean(raw: str) -> bool:
    if raw not in ("true", "false"):
        raise ValueError(raw)
    return raw == "true"


def _integer(raw: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", raw):
        raise ValueError(raw)
    return int(raw)


def _quoted(default: Any) -> str:
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return text if re.fullmatch(r"[\w./:-]+", text) else f"'{text}'"


_PARSERS: Mapping[str, Callable[[str], Any]] = {"bool": _boolean, "int": _integer, "str": str}
