from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components import ArgumentError, Bucket, Mount, Queue, Reach, Statement, Use
from components.uses import RESERVED, check_uses
from tests.components.deployment import deploy

READS = (Statement(actions=("ssm:GetParameters",), resources=("arn:aws:ssm:::parameter/a",)),)


def _mount(volume: str, path: str) -> Mount:
    return Mount(volume=volume, container_path=path, file_system_id="fs", access_point_id="fsap")


def _use(source: str, **parts: Any) -> Use:
    return Use(**{"source": source, "execution_statements": READS if "secrets" in parts else (), **parts})


def _reach(name: str, port: int = 443, group: str = "sg-1") -> Reach:
    return Reach(name=name, port=port, security_group_id=group)


def test_uses_of_different_things_go_together() -> None:
    check_uses("ApiService 'api'", [_use("a", environment={"A": "1"}), _use("b", secrets={"B": "arn:aws:b"})])


@pytest.mark.parametrize("source", ["a", "b"])
def test_two_uses_may_set_a_variable_to_the_same_value(source: str) -> None:
    check_uses("ApiService 'api'", [_use("a", environment={"A": "1"}), _use(source, environment={"A": "1"})])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (_use("one", environment={"A": "1"}), _use("one", environment={"A": "2"})),
        (_use("one", environment={"A": "1"}), _use("two", environment={"A": "2"})),
        (_use("one", environment={"A": "1"}), _use("two", secrets={"A": "arn:aws:a"})),
        (_use("one", environment={"A": "arn:aws:a"}), _use("two", secrets={"A": "arn:aws:a"})),
        (_use("one", mounts=(_mount("one", "/mnt"),)), _use("two", mounts=(_mount("two", "/mnt"),))),
        # One volume name for two file systems: the last one would be mounted at both places.
        (
            _use("one", mounts=(_mount("v", "/a"),)),
            _use(
                "two", mounts=(Mount(volume="v", container_path="/b", file_system_id="fs-2", access_point_id="fsap"),)
            ),
        ),
        (_use("one", reaches=(_reach("db"),)), _use("two", reaches=(_reach("db", 5432),))),
        (_use("one", reaches=(_reach("db"),)), _use("two", reaches=(_reach("db", group="sg-2"),))),
    ],
)
def test_two_values_for_one_place_are_an_error_that_names_both(first: Use, second: Use) -> None:
    with pytest.raises(ArgumentError, match=rf"'one' and from (the use|a secret) of {second.source!r}"):
        check_uses("ApiService 'api'", [first, second])


def test_the_same_reach_twice_is_one() -> None:
    check_uses("ApiService 'api'", [_use("a", reaches=(_reach("db"),)), _use("b", reaches=(_reach("db"),))])


@pytest.mark.parametrize(("outer", "inner"), [("/mnt", "/mnt/efs"), ("/mnt/efs", "/mnt"), ("/srv/a", "/srv/a/b/c")])
def test_mounts_do_not_lie_in_each_other(outer: str, inner: str) -> None:
    uses = [_use("a", mounts=(_mount("a", outer),)), _use("b", mounts=(_mount("b", inner),))]
    with pytest.raises(ArgumentError, match="do not lie in each other"):
        check_uses("ApiService 'api'", uses)
    with pytest.raises(ArgumentError, match="do not lie in each other"):
        check_uses("ApiService 'api'", uses[:1], {}, {inner: 16})
    check_uses("ApiService 'api'", uses[:1], {}, {f"{outer}-more": 16})


def test_the_environment_given_by_hand_is_not_overwritten_silently() -> None:
    with pytest.raises(ArgumentError, match="argument `environment`"):
        check_uses("ApiService 'api'", [_use("one", environment={"A": "1"})], {"A": "2"})


@pytest.mark.parametrize("variable", sorted(RESERVED))
def test_what_the_container_is_told_already_is_not_replaced(variable: str) -> None:
    for uses, environment in (([], {variable: "x"}), ([_use("a", environment={variable: "x"})], {})):
        with pytest.raises(ArgumentError, match=f": {variable}\n.*told already"):
            check_uses("ApiService 'api'", uses, environment)


def test_a_secret_that_ecs_may_not_read_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="execution_statements"):
        Use(source="a", secrets={"A": "arn:aws:a"})


def test_a_workload_may_read_one_prefix_of_a_bucket_and_write_another_and_use_a_queue_twice() -> None:
    def program() -> None:
        files, jobs = Bucket("files", protected=False), Queue("jobs")
        uses = [files.reading("in/"), files.writing("out/"), jobs.sending(), jobs.consuming()]
        check_uses("WorkerService 'worker'", uses)
        pulumi.export("environment", {key: value for use in uses for key, value in use.environment.items()})
        with pytest.raises(ArgumentError, match="FILES_PREFIX"):
            check_uses("WorkerService 'worker'", [*uses, files.writing("log/")])

    told = deploy(program).outputs["environment"]
    assert (told["FILES_READ_PREFIX"], told["FILES_PREFIX"]) == ("in/", "out/")


def test_a_reach_does_not_take_the_name_of_the_rule_that_every_task_has() -> None:
    with pytest.raises(ArgumentError, match="not https, which every task reaches"):
        _reach("https")


@pytest.mark.parametrize("secrets", [{"DB": "hunter2"}, ["DB=hunter2"], "hunter2"])
def test_a_secret_is_where_it_lies_and_is_never_shown(secrets: Any) -> None:
    with pytest.raises(ArgumentError) as raised:
        Use(source="a", secrets=secrets, execution_statements=READS)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("conditions", [{"StringEquals": {"aws:PrincipalTag/team": ["a", "b"]}}])
def test_a_condition_may_have_several_values(conditions: Any) -> None:
    statement = Statement(actions=("s3:Get*Object",), resources=("*",), conditions=conditions)
    assert statement.document()["Condition"] == conditions


@pytest.mark.parametrize(
    "wrong",
    [{"actions": "s3:GetObject"}, {"actions": ("*",)}, {"actions": ()}, {"resources": ()}, {"resources": ("x",)}],
)
def test_a_statement_names_actions_and_resources(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Statement(**{"actions": ("s3:GetObject",), "resources": ("*",), **wrong})
