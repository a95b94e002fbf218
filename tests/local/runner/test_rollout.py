from __future__ import annotations

from local.runner import Failure, Rollout, ServiceStatus


def test_a_failure_tells_a_human_everything() -> None:
    failure = Failure(
        "api", "3 tasks failed to start", ("task 1 exited 3", "task 2 exited 3"), "a\nb", rolled_back=True
    )
    assert str(failure).splitlines() == [
        "api: 3 tasks failed to start",
        "  task 1 exited 3",
        "  task 2 exited 3",
        "  | a",
        "  | b",
        "  rolled back: the former tasks go on",
    ]
    assert str(Rollout([failure])) == str(failure)


def test_a_rollout_without_failures_is_ok() -> None:
    assert Rollout().ok and not Rollout([Failure("api", "why")]).ok
    assert str(Rollout()) == "every service is stable"


def test_a_status_is_one_short_line_that_tells_what_is_not_usual() -> None:
    assert str(ServiceStatus("api", 2, 2, 1, "steady")) == "api 1/2 healthy"
    assert str(ServiceStatus("api", 2, 3, 2, "rolling")) == "api 2/2 healthy (rolling)"
