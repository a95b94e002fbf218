"""A stack file as it is written, for a copy that the engine may write into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_NULL = "tag:yaml.org,2002:null"


class StackFileError(Exception):
    """The file is no stack file. The message has the place in it and none of its values: any may be a secret."""


@dataclass(frozen=True)
class StackFile:
    """The nodes of a stack file. Scalars stay the text that they are: the engine reads YAML 1.2, in which `yes` is a word,
    and this parser YAML 1.1, in which it is true."""

    root: yaml.MappingNode

    @classmethod
    def read(cls, file: Path) -> StackFile:
        """Raises `StackFileError` for what is no YAML of the right shape, and for every key that is there twice."""
        try:
            root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            raise StackFileError(f"{file.name}{_place(error)}: not valid YAML{_problem(error)}") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise StackFileError(f"{file.name}: not valid YAML: a character that it cannot have") from None
        if root is None:
            root = yaml.MappingNode("tag:yaml.org,2002:map", [])
        if not isinstance(root, yaml.MappingNode) or not isinstance(_config(root), yaml.MappingNode | None):
            raise StackFileError(f"{file.name}: it and its `config` must be maps of keys and values")
        twice = list(_twice(root))
        if twice:
            raise StackFileError(
                f"{file.name} has a key more than once, and only one of its values can count:\n  " + "\n  ".join(twice)
            )
        return cls(root)

    @property
    def config(self) -> dict[str, yaml.Node]:
        """The configuration's nodes by their keys."""
        config = _config(self.root)
        return {key.value: value for key, value in config.value} if config is not None else {}

    def text(self, config: Mapping[str, Any], others: Mapping[str, str]) -> str:
        """The file with this configuration (nodes, or values) and these other entries in place of what it has."""
        nodes = {key: value if isinstance(value, yaml.Node) else _node(value) for key, value in config.items()}
        entries: list[tuple[yaml.Node, yaml.Node]] = [
            (key, value) for key, value in self.root.value if key.value not in {"config", *others}
        ]
        entries += [(_node(key), _node(value)) for key, value in others.items() if value]
        pairs = [(_node(key), node) for key, node in nodes.items()]
        entries.append((_node("config"), yaml.MappingNode(self.root.tag, pairs)))
        return str(yaml.serialize(yaml.MappingNode(self.root.tag, entries), Dumper=yaml.SafeDumper))


def is_encrypted(node: yaml.Node) -> bool:
    """Whether the node is, or holds, what only the owner of the stack's key can read."""
    if isinstance(node, yaml.MappingNode):
        return any((key.value == "secure" and len(node.value) == 1) or is_encrypted(value) for key, value in node.value)
    return isinstance(node, yaml.SequenceNode) and any(map(is_encrypted, node.value))


def _config(root: yaml.MappingNode) -> yaml.Node | None:
    found = next((value for key, value in root.value if key.value == "config"), None)
    return None if found is not None and found.tag == _NULL else found


def _twice(node: yaml.Node) -> Iterator[str]:
    lines: dict[Any, int] = {}
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    yield f"{key.value}: line {line}, after line {lines[key.value]}"
                lines.setdefault(key.value, line)
            yield from _twice(value)


def _node(value: Any) -> yaml.Node:
    node = yaml.compose(yaml.safe_dump(value), Loader=yaml.SafeLoader)
    assert node is not None
    return node


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"


def _problem(error: yaml.MarkedYAMLError) -> str:
    # In quotes it repeats what stands there: an alias, a tag, a character.
    return f": {error.problem}" if error.problem and "'" not in error.problem and '"' not in error.problem else ""
