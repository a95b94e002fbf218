"""Passwords, by the rules of hashicorp/terraform-provider-random."""

from __future__ import annotations

import string
from typing import Any

import pytest

from local.providers.random.password import Password
from local.providers.random.plugin import RandomStandIn
from tests.local.providers.test_standin import check, diff

TOKEN = "random:index/randomPassword:RandomPassword"


@pytest.mark.parametrize(
    ("inputs", "allowed"),
    [
        ({}, string.ascii_letters + string.digits + "!@#$%&*()-_=+[]{}<>:?"),
        ({"special": False}, string.ascii_letters + string.digits),
        ({"special": False, "upper": False, "number": False}, string.ascii_lowercase),
        ({"lower": False, "upper": False, "numeric": False, "overrideSpecial": "_-"}, "_-"),
    ],
)
def test_a_password_is_as_long_and_of_the_letters_that_were_asked_for(inputs: Any, allowed: str) -> None:
    made = Password().create("token", {"length": 200} | inputs)
    assert made.id == "none"
    assert len(made.computed["result"]) == 200
    assert set(made.computed["result"]) <= set(allowed)
    assert not set(made.computed) & set(inputs)


def test_what_is_asked_for_at_least_is_in_it() -> None:
    inputs = {"length": 8, "minSpecial": 3, "minNumeric": 2, "minUpper": 2, "minLower": 1}
    result = Password().create("token", inputs).computed["result"]
    assert sum(letter in string.digits for letter in result) == 2
    assert sum(letter in string.ascii_uppercase for letter in result) == 2
    assert sum(letter in string.ascii_lowercase for letter in result) == 1


def test_two_passwords_differ_and_one_has_its_outputs() -> None:
    first, second = (Password().create("token", {"length": 32}).computed for _ in range(2))
    assert first["result"] != second["result"]
    assert first["bcryptHash"].startswith("$2a$10$") and len(first["bcryptHash"]) == 60
    assert set(first) == Password.computed
    assert Password.secret == {"result", "bcryptHash"}


@pytest.mark.parametrize(
    ("inputs", "mistake"),
    [
        ({"length": 0}, "length: 0 is too short"),
        ({"length": 4, "minUpper": 3, "minNumeric": 2}, "length: 4 is too short"),
        ({"length": 4, "upper": False, "lower": False, "special": False, "number": False}, "must be true"),
        ({"length": 32}, None),
    ],
)
def test_what_cannot_be_made_is_told(inputs: Any, mistake: str | None) -> None:
    found = Password().mistakes(inputs)
    assert (mistake is None and not found) or (mistake is not None and mistake in found[0])


@pytest.mark.parametrize(
    "change", [{"length": 33}, {"special": False}, {"keepers": {"rotation": "2"}}, {"minUpper": 1}]
)
def test_every_change_makes_a_new_one(change: dict[str, Any]) -> None:
    inputs = {"length": 32, "keepers": {"rotation": "1"}}
    state = inputs | Password().create("token", inputs).computed
    assert diff(RandomStandIn(), TOKEN, state, inputs).changes is False
    assert diff(RandomStandIn(), TOKEN, state, inputs | change).replaces == list(change)
    assert not check(RandomStandIn(), TOKEN, inputs).failures
