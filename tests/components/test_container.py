from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.container import canonical, named

_words = st.text(alphabet="abcdefgh", min_size=1, max_size=8)
_containers = st.lists(
    st.fixed_dictionaries(
        {"name": _words, "image": _words},
        optional={
            "cpu": st.one_of(st.integers(0, 1024), st.integers(0, 1024).map(float)),
            "environment": st.dictionaries(_words, _words).map(named),
            "secrets": st.none() | st.dictionaries(_words, _words).map(lambda values: named(values, "valueFrom")),
            "healthCheck": st.none() | st.fixed_dictionaries({"command": st.lists(_words), "interval": st.just(10.0)}),
            "portMappings": st.lists(
                st.integers(1, 65535).map(lambda port: {"containerPort": port, "hostPort": port}), unique_by=str
            ),
        },
    ),
    unique_by=lambda container: str(container["name"]),
)


@given(_containers)
def test_trap_27_the_canonical_form_is_a_fixed_point(containers: list[dict[str, Any]]) -> None:
    once = canonical(containers)
    assert canonical(json.loads(once)) == once


@given(_containers, st.randoms())
def test_trap_27_the_order_that_things_were_given_in_does_not_show(
    containers: list[dict[str, Any]], chance: Any
) -> None:
    shuffled = [dict(chance.sample(list(container.items()), len(container))) for container in containers]
    for container in shuffled:
        for key in {"environment", "portMappings"} & set(container):
            container[key] = chance.sample(container[key], len(container[key]))
    chance.shuffle(shuffled)
    assert canonical(shuffled) == canonical(containers)


@given(_containers)
def test_trap_27_there_are_no_nulls_and_no_fractions_and_the_defaults_of_ecs_are_there(
    containers: list[dict[str, Any]],
) -> None:
    text = canonical(containers)
    assert "null" not in text and ".0" not in text
    for container in json.loads(text):
        assert container["essential"] is True
        assert {"cpu", "environment", "mountPoints", "portMappings", "systemControls", "volumesFrom"} <= set(container)


def test_a_mapping_becomes_ecs_s_list() -> None:
    assert named({"A": "arn"}, "valueFrom") == [{"name": "A", "valueFrom": "arn"}]
