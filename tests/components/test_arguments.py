from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pulumi
import pytest

from components import ArgumentError
from components.arguments import (
    HIDDEN,
    Between,
    Described,
    Hidden,
    Matching,
    OneOf,
    Text,
    Valid,
    allowed_by,
    argument_mistakes,
    argument_types,
    check_call,
    check_fields,
    checked,
)


class Part:
    @checked
    def __init__(
        self,
        name: Text,
        *,
        port: Annotated[int, Between(1, 65_535, "TCP's")] = 8080,
        share: Annotated[float, Between(0, 1)] = 0.5,
        nat: Literal["none", "single", "per-az"] = "none",
        days: Annotated[int, OneOf((1, 3, 5))] = 1,
        path: Annotated[str, Matching("/.*", "a path", "write it as '/x'")] = "/",
        even: Annotated[int, Valid(lambda value: "an even number" if value % 2 else None, "add one")] = 0,
        command: Sequence[Text] = (),
        environment: Mapping[str, pulumi.Input[str]] | None = None,
        enabled: bool = True,
        token: Annotated[pulumi.Input[str] | None, Hidden()] = None,
        parts: Sequence[Annotated[Other, Described("an Other", "write Other()")]] = (),
        anything: Any = None,
    ) -> None:
        self.name, self.port = name, port


class Other:
    pass


def said(**arguments: Any) -> dict[str, tuple[str, str, str]]:
    with pytest.raises(ArgumentError) as raised:
        Part(**{"name": "part", **arguments})
    return {mistake.name: (mistake.value, mistake.allowed, mistake.remedy) for mistake in raised.value.mistakes}


def test_what_the_annotations_allow_is_taken_as_it_is() -> None:
    part = Part(
        "part",
        port=1,
        share=1,
        nat="per-az",
        days=3,
        path="/a",
        even=2,
        command=("a", "b"),
        environment={"A": "b"},
        enabled=False,
        token="hush",
        parts=[Other()],
        anything=object(),
    )
    assert (part.name, part.port) == ("part", 1)


def test_all_mistakes_are_told_at_once_under_the_name_of_the_component() -> None:
    with pytest.raises(ArgumentError, match=r"(?s)^Part 'part':.*port: 0\n.*nat: 'per_az'\n.*days: 4"):
        Part("part", port=0, nat="per_az", days=4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        ({"port": 0}, "port", ("0", "1 to 65,535 (TCP's)", "the nearest is 1")),
        ({"port": 70_000}, "port", ("70000", "1 to 65,535 (TCP's)", "the nearest is 65535")),
        ({"port": "80"}, "port", ("'80'", "a whole number", "write it without quotes: 80")),
        ({"port": True}, "port", ("True", "a whole number", "give a whole number")),
        ({"port": 80.5}, "port", ("80.5", "a whole number", "give a whole number")),
        ({"share": float("nan")}, "share", ("nan", "0 to 1", "the nearest is 0")),
        ({"nat": "per_az"}, "nat", ("'per_az'", "none, single or per-az", "did you mean per-az?")),
        ({"nat": 1}, "nat", ("1", "none, single or per-az", "give none, single or per-az")),
        ({"days": 31}, "days", ("31", "1, 3, 5", "the nearest is 5")),
        ({"path": "x"}, "path", ("'x'", "a path", "write it as '/x'")),
        ({"even": 1}, "even", ("1", "an even number", "add one")),
        ({"name": " "}, "name", ("' '", "text that is not empty", "give it, or leave the argument out")),
        ({"name": 5}, "name", ("5", "text", "write it in quotes")),
        ({"command": "api"}, "command", ("'api'", "a list of text", "write it as ['api']")),
        ({"command": ["a", 1]}, "command[1]", ("1", "text", "write it in quotes")),
        ({"command": ["", "a"]}, "command[0]", ("''", "text that is not empty", "give it, or leave the argument out")),
        ({"environment": ["A"]}, "environment", ("['A']", "a mapping of text to text or None", "give a mapping of text to text")),
        ({"environment": {"A": 1}}, "environment['A']", ("1", "text", "write it in quotes")),
        ({"environment": {1: "b"}}, "environment key", ("1", "text", "write it in quotes")),
        ({"enabled": "yes"}, "enabled", ("'yes'", "True or False", "give True or False")),
        ({"enabled": None}, "enabled", ("None", "True or False", "give True or False")),
        ({"token": 12345}, "token", (HIDDEN, "text or None", "write it in quotes")),
        ({"parts": [Part("p")]}, "parts[0]", ("a Part", "an Other", "write Other()")),
        ({"parts": Other()}, "parts", ("an Other", "a list of Other", "give a list of Other")),
    ],
)  # fmt: skip
def test_a_mistake_says_what_was_given_what_is_allowed_and_what_to_do(
    arguments: dict[str, Any], name: str, expected: tuple[str, str, str]
) -> None:
    assert said(**arguments) == {name: expected}


def test_what_an_annotation_allows_is_told_without_a_value_as_with_one() -> None:
    types = argument_types(Part.__init__)
    for name, wrong in {"port": 0, "nat": "per_az", "days": 31, "path": "x", "enabled": "yes", "token": 1}.items():
        assert allowed_by(types[name]) == said(**{name: wrong})[name][1]


def test_a_value_that_comes_later_passes_where_an_input_is_taken_and_nowhere_else() -> None:
    class Later(Awaitable[str]):
        def __await__(self) -> Any:
            yield

    assert list(argument_mistakes(Part.__init__, {"environment": {"A": Later()}, "token": Later()})) == []
    assert [mistake.name for mistake in argument_mistakes(Part.__init__, {"path": Later()})] == ["path"]


def test_a_missing_and_an_unknown_argument_are_python_s_own_errors() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'name'"):
        Part()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'prot'"):
        Part("part", prot=1)  # type: ignore[call-arg]


def test_the_constructor_does_not_run_with_a_mistake() -> None:
    class Deeper(Part):
        @checked
        def __init__(self, name: str, *, port: Annotated[int, Between(1, 2)]) -> None:
            ran.append(port)

    ran: list[int] = []
    Deeper("deeper", port=2)
    with pytest.raises(ArgumentError, match="Deeper 'deeper'"):
        Deeper("deeper", port=3)
    assert ran == [2]


@dataclass(frozen=True)
class Pair:
    first: Annotated[int, Between(1, 9)]
    second: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


def test_a_dataclass_checks_its_fields() -> None:
    assert Pair(1, "a").first == 1
    with pytest.raises(ArgumentError, match=r"(?s)^Pair:\n  first: 10.*\n  second: 1"):
        Pair(10, 1)  # type: ignore[arg-type]


def test_a_method_checks_what_it_was_called_with() -> None:
    def mounted_at(path: Annotated[str, Matching("/.*", "a path", "write it as '/x'")]) -> None: ...

    check_call("Volume 'v'", mounted_at, path="/x")
    with pytest.raises(ArgumentError, match="Volume 'v':\n  path: 'x'"):
        check_call("Volume 'v'", mounted_at, path="x")
