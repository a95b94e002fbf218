from __future__ import annotations

from dataclasses import dataclass

from components.configuration import key, key_name, read, schema


@dataclass(frozen=True)
class Kitchen:
    oven_degrees: int = key(180, "How hot.", allowed="100 to 250", valid=lambda value: 100 <= value <= 250)
    gas_oven: bool = key(False, "Whether it burns gas.", allowed="true or false", valid=lambda value: True)
    pin_code: str = key("", "Opens it.", allowed="4 digits", valid=lambda value: len(value) == 4, secret=True)


def test_a_key_is_its_field_in_camel_case() -> None:
    assert [key_name(name) for name in ("vpc", "oven_degrees", "a_b_c")] == ["vpc", "ovenDegrees", "aBC"]


def test_the_schema_says_what_the_fields_say_and_marks_no_key_as_secret() -> None:
    assert schema(Kitchen)["ovenDegrees"] == {
        "type": "integer",
        "default": 180,
        "description": "How hot. Allowed: 100 to 250.",
    }
    assert all(set(spec) == {"type", "default", "description"} for spec in schema(Kitchen).values())


def test_values_are_read_as_the_field_s_type_and_missing_ones_are_the_default() -> None:
    assert read(Kitchen, {"gasOven": "true", "pinCode": "1234"}, {"pinCode"}) == (
        {"oven_degrees": 180, "gas_oven": True, "pin_code": "1234"},
        [],
    )


def test_wrong_values_are_mistakes_and_not_among_the_fields() -> None:
    good, mistakes = read(Kitchen, {"ovenDegrees": "300", "gasOven": "1", "pinCode": "12"}, {"pinCode"})
    assert good == {}
    assert [(mistake.name, mistake.value) for mistake in mistakes] == [
        ("ovenDegrees", "300"),
        ("gasOven", "1"),
        ("pinCode", "(secret, not shown)"),
    ]
    assert "pulumi config set ovenDegrees 180" in mistakes[0].remedy
    assert "--secret pinCode" in mistakes[2].remedy
