from __future__ import annotations

import pytest

from bench.figures import Goal, Measured, Metrics, Spread, judge, ratios, values


def _row(repetitions: int = 3, **series: list[Metrics | None]) -> Measured:
    return Measured("row", "2026-01-01", repetitions, {}, series)


def _rates(*rates: float | None) -> list[Metrics | None]:
    return [None if rate is None else {"rate": rate} for rate in rates]


AT_LEAST = Goal(text="rate", metric="rate", sense=">=", must=0.9, stretch=1.2, against="peer")
AT_MOST = Goal(text="growth", metric="mib", sense="<=", must=8)


def test_a_ratio_is_taken_within_a_repetition_and_not_between_medians() -> None:
    service, peer = _rates(10, 200, 30), _rates(10, 100, 60)
    assert ratios(service, peer, "rate") == [1.0, 2.0, 0.5]
    verdict = judge(_row(service=service, peer=peer), AT_LEAST)
    # The ratio of the medians would be 30 / 60.
    assert verdict.spread == Spread(1.0, 0.5, 2.0, 3)
    assert verdict.state == "met"


def test_a_ratio_can_compare_two_figures() -> None:
    assert ratios([{"a": 6.0}], [{"b": 3.0}], "a", "b") == [2.0]


def test_the_median_of_an_even_number_of_repetitions_lies_between_the_middle_two() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 100.0]) == Spread(3.0, 1.0, 100.0, 4)


@pytest.mark.parametrize(
    ("rate", "state"), [(0.89, "not met"), (0.9, "met"), (1.19, "met"), (1.2, "stretch met"), (5.0, "stretch met")]
)
def test_a_lower_limit_is_met_from_the_limit_on(rate: float, state: str) -> None:
    assert judge(_row(service=_rates(rate, rate, rate), peer=_rates(1, 1, 1)), AT_LEAST).state == state


@pytest.mark.parametrize(("mib", "state"), [(7.9, "met"), (8.0, "met"), (8.1, "not met")])
def test_an_upper_limit_is_met_up_to_the_limit(mib: float, state: str) -> None:
    assert judge(_row(1, service=[{"mib": mib}]), AT_MOST).state == state


def test_a_repetition_with_an_error_on_either_side_does_not_count() -> None:
    service, peer = _rates(1, None, 1), _rates(1, 1, None)
    assert ratios(service, peer, "rate") == [1.0]
    assert values(service, "rate") == [1, 1]


def test_a_goal_with_a_missing_repetition_is_not_met_however_good_the_others() -> None:
    row = _row(service=_rates(5, None, 5), peer=_rates(1, 1, 1))
    row.notes["service"] = "repetition 2: status 500"
    verdict = judge(row, AT_LEAST)
    assert verdict.state == "not met"
    assert "status 500" in verdict.why


def test_a_service_that_never_answered_rightly_has_not_met_its_goal() -> None:
    row = _row(service=_rates(None, None, None), peer=_rates(1, 1, 1))
    row.notes["service"] = "it exited with 1"
    verdict = judge(row, AT_LEAST)
    assert verdict.state == "not met"
    assert verdict.spread is None


def test_a_row_that_was_not_run_and_a_peer_that_is_not_there_are_not_measured() -> None:
    assert judge(None, AT_LEAST).state == "not measured"
    row = _row(service=_rates(1, 1, 1))
    row.notes["peer"] = "not installed"
    verdict = judge(row, AT_LEAST)
    assert verdict.state == "not measured"
    assert "not installed" in verdict.why


def test_a_peer_that_did_nothing_makes_no_ratio() -> None:
    assert ratios(_rates(1), _rates(0), "rate") == []
