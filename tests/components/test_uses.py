from __future__ import annotations

import pytest

from components import ArgumentError, Mount, Use
from components.uses import check_uses


def _mount(volume: str, path: str) -> Mount:
    return Mount(volume=volume, container_path=path, file_system_id="fs", access_point_id="fsap")


def test_uses_of_different_things_go_together() -> None:
    check_uses("ApiService 'api'", [Use(source="a", environment={"A": "1"}), Use(source="b", secrets={"B": "arn"})])


def test_two_uses_of_one_component_may_set_the_same_variable() -> None:
    check_uses("ApiService 'api'", [Use(source="a", environment={"A": "1"}), Use(source="a", environment={"A": "1"})])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Use(source="one", environment={"A": "1"}), Use(source="two", environment={"A": "2"})),
        (Use(source="one", environment={"A": "1"}), Use(source="two", secrets={"A": "arn"})),
        (Use(source="one", mounts=(_mount("one", "/mnt"),)), Use(source="two", mounts=(_mount("two", "/mnt"),))),
    ],
)
def test_two_components_that_claim_one_place_are_an_error_that_names_both(first: Use, second: Use) -> None:
    with pytest.raises(ArgumentError, match="'one' and from the use of 'two'"):
        check_uses("ApiService 'api'", [first, second])


def test_the_environment_given_by_hand_is_not_overwritten_silently() -> None:
    with pytest.raises(ArgumentError, match="argument `environment`"):
        check_uses("ApiService 'api'", [Use(source="one", environment={"A": "1"})], ["A"])
