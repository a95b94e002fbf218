from __future__ import annotations

import pulumi

from components.errors import ArgumentError, Mistake, did_you_mean, spelled


def test_an_error_names_the_component_and_for_each_mistake_what_was_given_what_is_allowed_and_what_to_do() -> None:
    mistake = Mistake(name="port", value="0", allowed="1 to 65535", remedy="use 8080")
    error = ArgumentError("ApiService 'api'", mistake)
    for part in ("ApiService 'api'", "port: 0", "allowed: 1 to 65535", "remedy: use 8080"):
        assert part in str(error)
    assert error.mistakes == (mistake,)


def test_pulumi_prints_it_without_a_traceback() -> None:
    assert issubclass(ArgumentError, pulumi.RunError)


def test_a_misspelt_name_gets_its_nearest_known_spelling_and_a_strange_one_the_list() -> None:
    assert did_you_mean("apiCpus", ["apiCpu", "vpc"]) == "did you mean apiCpu?"
    assert did_you_mean("qqq", ["vpc", "apiCpu"]) == "use one of: apiCpu, vpc"


def test_a_choice_is_spelled_out() -> None:
    assert [spelled(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a or b", "a, b or c"]
