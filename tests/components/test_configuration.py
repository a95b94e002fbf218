from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from components import ConfigurationError, configuration_schema, key, load_settings
from components.arguments import Between, Matching, Valid
from components.configuration import key_name, read
from tests.components.deployment import PROJECT, deploy


def _not_a_time(value: str) -> str | None:
    return None if ":" in value else f"{value[:2]}:{value[2:]}"


@dataclass(frozen=True)
class Kitchen:
    oven_degrees: Annotated[int, Between(100, 250)] = key(180, "How hot.")
    gas_oven: bool = key(False, "Whether it burns gas.")
    pin_code: Annotated[str, Matching(r"\d{4}", "4 digits")] = key("", "Opens it.", secret=True)
    radio: Annotated[str, Matching("[^@]+", "an address")] = key("", "An address.", shown=False)
    fuel: Literal["gas", "oil", "wood"] = key("gas", "What it burns.")
    guests: Annotated[int, Between(1, 1000)] = key(4, "Plates.")
    dinner: Annotated[str, Valid(_not_a_time, allowed="a time")] = key("19:00", "When.")


@pytest.fixture
def project_file(tmp_path: Path) -> Path:
    file = tmp_path / "Pulumi.yaml"
    file.write_text(f"name: {PROJECT}\n")
    return file


def load(project_file: Path, config: Mapping[str, str]) -> Kitchen:
    loaded: list[Kitchen] = []
    deploy(lambda: loaded.append(load_settings(Kitchen, project_file)), config={"aws:region": "eu-central-1", **config})
    return loaded[0]


def mistakes(project_file: Path, config: Mapping[str, str]) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(project_file, config)
    return {mistake.name: str(mistake) for mistake in caught.value.mistakes}


def test_a_key_is_its_field_in_camel_case() -> None:
    assert [key_name(name) for name in ("vpc", "oven_degrees", "a_b_c")] == ["vpc", "ovenDegrees", "aBC"]


def test_the_schema_says_what_the_fields_say_and_gives_the_engine_nothing_to_check() -> None:
    assert configuration_schema(Kitchen)["ovenDegrees"] == {
        "default": 180,
        "description": "How hot. Allowed: 100 to 250.",
    }
    assert configuration_schema(Kitchen)["gasOven"]["description"].endswith("Allowed: true or false.")
    assert configuration_schema(Kitchen)["fuel"]["description"].endswith("Allowed: gas, oil or wood.")
    # What has an empty default may be empty, and a number is written as it is to be typed.
    assert configuration_schema(Kitchen)["pinCode"]["description"].endswith("Allowed: empty, or 4 digits.")
    assert configuration_schema(Kitchen)["guests"]["description"].endswith("Allowed: 1 to 1000.")
    # The engine stops at the first key with a `type` whose value is wrong, or that is a `secret` in plain.
    assert all(set(spec) == {"default", "description"} for spec in configuration_schema(Kitchen).values())


def test_values_are_read_as_the_field_s_type_and_missing_ones_are_the_default() -> None:
    good, mistakes = read(Kitchen, {"gasOven": "true", "pinCode": "1234"}, encrypted={"pinCode"})
    assert good == dataclasses.asdict(Kitchen(gas_oven=True, pin_code="1234"))
    assert mistakes == []


def test_wrong_values_are_mistakes_and_not_among_the_fields() -> None:
    values = {"ovenDegrees": "300", "gasOven": "1", "pinCode": "12", "radio": "https://me:password@host"}
    values |= {"fuel": "coal", "guests": "0", "dinner": "1930"}
    good, mistakes = read(Kitchen, values, encrypted={"pinCode"})
    assert good == {}
    assert [(mistake.name, mistake.value) for mistake in mistakes] == [
        ("ovenDegrees", "300"),
        ("gasOven", "1"),
        ("pinCode", "(secret, not shown)"),
        ("radio", "(not shown: it may be a secret)"),
        ("fuel", "coal"),
        ("guests", "0"),
        ("dinner", "1930"),
    ]
    # What a rule says of the value goes before what it says of all.
    assert [mistake.allowed for mistake in mistakes[-3:]] == ["gas, oil or wood", "1 to 1000", "19:30"]
    assert "pulumi config set ovenDegrees 180" in mistakes[0].remedy
    assert "--secret pinCode" in mistakes[2].remedy


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        # As the engine hands over what a stack file has: 200, "200" and 200.0 are the same to it.
        ("200", 200),
        ("200.5", "200.5"),
        ("1e2", "1e2"),
        ("", "(empty)"),
        ("null", "null"),
        ("true", "true"),
        ("[200]", "a list, not shown"),
        ('{"degrees": 200}', "a map, not shown"),
        ("100000000000000000000", "100000000000000000000"),
        ("2030-01-01 00:00:00 +0000 UTC", "2030-01-01 00:00:00 +0000 UTC"),
        ("two\nlines", r"'two\nlines'"),
    ],
)
def test_a_value_in_an_unusual_form_is_read_or_told(raw: str, outcome: object) -> None:
    good, mistakes = read(Kitchen, {"ovenDegrees": raw})
    assert [good.get("oven_degrees", mistakes[0].value if mistakes else None)] == [outcome]


def test_a_list_for_a_text_is_a_mistake_and_not_its_json() -> None:
    good, mistakes = read(Kitchen, {"radio": '["a"]'})
    assert "radio" not in good and [mistake.name for mistake in mistakes] == ["radio"]


def test_keys_that_the_project_file_describes_are_known(project_file: Path) -> None:
    project_file.write_text(
        f"name: {PROJECT}\nconfig:\n  fridge: {{default: 4}}\n  {PROJECT}:freezer: {{default: -18}}\n"
        "  house:street: {value: Main}\n  aws:custom: {value: 1}\n"
    )
    config = {"fridge": "5", "freezer": "-20", "house:street": "Side", "aws:custom": "2"}
    assert load(project_file, config) == Kitchen()
    assert set(mistakes(project_file, {**config, "frige": "5"})) == {"frige"}
    assert "did you mean fridge?" in mistakes(project_file, {"frige": "5"})["frige"]


def test_nothing_of_an_encrypted_value_stands_in_what_is_allowed() -> None:
    _, mistakes = read(Kitchen, {"dinner": "1930"}, encrypted={"dinner"})
    assert [(mistake.value, mistake.allowed) for mistake in mistakes] == [("(secret, not shown)", "a time")]


def test_a_key_that_nothing_reads_is_told_without_its_value(project_file: Path) -> None:
    token = "a-token-that-nobody-may-see"
    found = mistakes(project_file, {"pinCod": token, f"{PROJECT[:-1]}:pinCode": token, "aws:secretKye": token})
    assert list(found) == ["pinCod", "aws:secretKye", f"{PROJECT[:-1]}:pinCode"]
    assert "did you mean pinCode?" in found["pinCod"]
    assert "did you mean aws:secretKey?" in found["aws:secretKye"]
    assert f"did you mean {PROJECT}:pinCode?" in found[f"{PROJECT[:-1]}:pinCode"]
    assert token not in "".join(found.values())


def test_a_key_in_two_spellings_is_told(project_file: Path) -> None:
    stack_file = project_file.with_name("Pulumi.test.yaml")
    stack_file.write_text(f"config:\n  ovenDegrees: 200\n  {PROJECT}:ovenDegrees: 220\n  {PROJECT}:gasOven: true\n")
    assert list(mistakes(project_file, {"ovenDegrees": "220"})) == ["ovenDegrees"]
    stack_file.write_text("")
    assert load(project_file, {"ovenDegrees": "220"}).oven_degrees == 220
