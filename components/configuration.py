"""Reading a stack's configuration into a frozen dataclass, and telling every mistake in it at once.

@dataclass(frozen=True)
class Settings:
    replicas: Annotated[int, Between(1, 10)] = key(2, "How many.")

settings = load_settings(Settings, Path(__file__).with_name("Pulumi.yaml"))
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pulumi
import yaml

# Private, because pulumi.Config reads one key by its name, and nothing public lists the keys that there are: a misspelt
# one would never be seen.
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

from components.arguments import HIDDEN, allowed_by, argument_mistakes, argument_types
from components.errors import Mistake, did_you_mean
from components.provider_configuration import NOT_SHOWN, namespace_mistakes, region_mistakes

Settings = TypeVar("Settings")
Together = Callable[[Mapping[str, Any]], Iterable[Mistake]]


class ConfigurationError(pulumi.RunError):
    """The stack's configuration has mistakes. Pulumi prints it as one message, and no resource was registered yet."""

    def __init__(self, stack: str, mistakes: Collection[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = [f"The configuration of stack {stack!r} has {count}. Nothing was deployed.", *map(str, self.mistakes)]
        super().__init__("\n  ".join(lines))


@dataclass(frozen=True)
class Key:
    """What a configuration key means, kept beside the field that holds its value."""

    meaning: str
    secret: bool
    shown: bool


def key(default: Any, meaning: str, *, secret: bool = False, shown: bool = True) -> Any:
    """A field with its configuration key: `api_cpu` is read from `apiCpu`.

    The field's annotation says what it takes, as an argument's does: a `bool`, `int`, `str` or `Literal` of words, with
    a rule or without. Where the default is empty, so may the value be. A `secret` must be encrypted. `shown=False` keeps
    a wrong value out of the message: for one that need not be secret but may bring a password, as an address does.
    """
    return dataclasses.field(default=default, metadata={"key": Key(meaning, secret, shown)})


def key_name(field: str) -> str:
    """The configuration key of a field: camelCase, as Pulumi's own keys."""
    return re.sub(r"_(.)", lambda match: match[1].upper(), field)


def configuration_schema(settings: type) -> dict[str, dict[str, Any]]:
    """The `config` section of Pulumi.yaml that says what `settings` says.

    It declares no `type`: the CLI checks those itself, before the program runs, and stops at the first wrong value
    without a word of what is allowed; the program tells all (`validateStackConfigValues` in pkg/workspace/config.go of
    pulumi/pulumi looks at typed keys only). No key is marked as secret: Pulumi demands that such a key is encrypted in
    each stack file, its default included.
    """
    return {
        key_name(field.name): {
            "default": field.default,
            "description": f"{_key(field).meaning} Allowed: {_allowed(settings, field)}.",
        }
        for field in dataclasses.fields(settings)
    }


def load_settings(settings: type[Settings], project_file: Path, together: Together = lambda values: ()) -> Settings:
    """The settings of the stack being deployed, after a check of the whole configuration, every namespace included.

    `project_file` is the program's Pulumi.yaml: what it describes beside the fields of `settings` is known too.
    `together` gets the values that are right by themselves and yields the mistakes in what goes together. Raises
    ConfigurationError with every mistake there is.
    """
    project, stack = pulumi.get_project(), pulumi.get_stack()
    values = {name: str(value) for name, value in {**get_config_env(), **CONFIG.get()}.items()}
    own = {name.removeprefix(f"{project}:"): value for name, value in values.items() if _is_in(name, project)}
    encrypted = {name.removeprefix(f"{project}:") for name in values if is_config_secret(name)}
    described = _described(project_file, project)
    good, mistakes = read(
        settings,
        own,
        encrypted=encrypted,
        described={name.removeprefix(f"{project}:") for name in described if _is_in(name, project)},
    )
    mistakes += [
        *namespace_mistakes(project, set(values) - described),
        *(_hidden(mistake, encrypted) for mistake in (*region_mistakes(values), *together(good))),
        *_spelled_twice(project_file.with_name(f"Pulumi.{stack}.yaml"), project),
    ]
    if mistakes:
        raise ConfigurationError(stack, mistakes)
    return settings(**good)


def read(
    settings: type, values: Mapping[str, str], *, encrypted: Collection[str] = (), described: Collection[str] = ()
) -> tuple[dict[str, Any], list[Mistake]]:
    """The fields of `settings` read from raw values, those that are missing or right, and the mistakes of the
    others. A key that is no field is a mistake unless it is `described` elsewhere."""
    fields = {key_name(field.name): field for field in dataclasses.fields(settings)}
    known = {*fields, *described}
    mistakes = [_unknown(name, known) for name in sorted(set(values) - known)]
    good: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in values:
            good[field.name] = field.default
            continue
        mistake, value = _value(settings, field, values[name], name in encrypted)
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


def _is_in(name: str, namespace: str) -> bool:
    return name.startswith(f"{namespace}:")


def _key(field: dataclasses.Field[Any]) -> Key:
    found = field.metadata["key"]
    assert isinstance(found, Key)
    return found


def _full_name(name: str, project: str) -> str:
    """`apiCpu`, `<project>:apiCpu` and, from long ago, `<project>:config:apiCpu` are one key."""
    return name.replace(":config:", ":", 1) if ":" in name else f"{project}:{name}"


def _described(project_file: Path, project: str) -> set[str]:
    # Read once more by the program, because the engine hands over the values alone.
    config = yaml.safe_load(project_file.read_text(encoding="utf-8")).get("config")
    return {_full_name(str(name), project) for name in config or ()}


def _spelled_twice(stack_file: Path, project: str) -> Iterable[Mistake]:
    # The engine refuses a key that is there twice, but not one in two spellings: the last one wins without a word.
    try:
        content = yaml.load(stack_file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        names = [str(name) for name in content["config"]]
    except (OSError, yaml.YAMLError, TypeError, KeyError):
        # What the engine has read came from elsewhere (--config-file), or is empty.
        return
    for full in sorted({_full_name(name, project) for name in names}):
        spellings = [name for name in names if _full_name(name, project) == full]
        if len(spellings) > 1:
            yield Mistake(
                name=full.removeprefix(f"{project}:"),
                value=f"given {len(spellings)} times, as {' and '.join(spellings)}",
                allowed="one line for a key",
                remedy=f"delete the others from {stack_file.name}",
            )


def _unknown(name: str, known: Iterable[str]) -> Mistake:
    return Mistake(
        name=name,
        # A misspelt key of a secret is an unknown key.
        value=NOT_SHOWN,
        allowed="a key that Pulumi.yaml describes",
        remedy=f"{did_you_mean(name, known)} (pulumi config rm {name} removes it)",
    )


def _value(settings: type, field: dataclasses.Field[Any], raw: str, encrypted: bool) -> tuple[Mistake | None, Any]:
    spec, name = _key(field), key_name(field.name)
    secret = spec.secret or encrypted
    if spec.secret and raw and not encrypted:
        return _mistake(name, HIDDEN, "an encrypted value", f"pulumi config set --secret {name}"), None
    if raw == field.default == "":
        return None, raw
    allowed = _allowed(settings, field)
    try:
        value = _parsed(raw, typing.get_type_hints(settings)[field.name])
        found = list(argument_mistakes(settings, {field.name: value}))
        if not found:
            return None, value
        # What is allowed in place of a value may have a part of the value in it.
        if spec.shown and not secret:
            allowed = _plain(found[0].allowed, field)
    except ValueError:
        pass
    shown = HIDDEN if secret else _shown(raw) if spec.shown else NOT_SHOWN
    change = f"--secret {name}" if spec.secret else f"{name} {_quoted(field.default)}"
    return _mistake(name, shown, allowed, f"pulumi config set {change}, or any other value allowed"), None


def _allowed(settings: type, field: dataclasses.Field[Any]) -> str:
    hint = argument_types(settings)[field.name]
    return "true or false" if hint is bool else _plain(allowed_by(hint), field)


def _plain(allowed: str, field: dataclasses.Field[Any]) -> str:
    # Numbers as they are to be written.
    digits = re.sub(r"(?<=\d),(?=\d)", "", allowed)
    return f"empty, or {digits}" if field.default == "" else digits


def _hidden(mistake: Mistake, encrypted: Collection[str]) -> Mistake:
    """The mistake; without anything made of values when one of them is encrypted."""
    secrets = [name for name in mistake.name.split(", ") if name in encrypted]
    if not secrets:
        return mistake
    return _mistake(mistake.name, HIDDEN, "what Pulumi.yaml describes", f"pulumi config get {secrets[0]} shows it")


def _mistake(name: str, value: str, allowed: str, remedy: str) -> Mistake:
    return Mistake(name=name, value=value, allowed=allowed, remedy=remedy)


def _shown(raw: str) -> str:
    if _is_nested(raw):
        # What lies in it may be anything, a secret among it.
        return f"a {'map' if raw.startswith('{') else 'list'}, not shown"
    if not raw:
        return "(empty)"
    return raw if raw.isprintable() and len(raw) <= 100 else f"{raw[:100]!r}"


def _is_nested(raw: str) -> bool:
    """Whether the stack file has a map or a list there: it arrives as JSON."""
    try:
        return raw.startswith(("{", "[")) and isinstance(json.loads(raw), dict | list)
    except ValueError:
        return False


def _parsed(raw: str, kind: Any) -> Any:
    if _is_nested(raw):
        raise ValueError(raw)
    return _PARSERS.get(kind, str)(raw)


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


_PARSERS: Mapping[Any, Callable[[str], Any]] = {bool: _boolean, int: _integer}
