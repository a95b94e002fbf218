from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local.providers.aws.real import REAL
from local.providers.aws.table import TABLE
from local.providers.schema import Schemas
from local.providers.values import UNKNOWN

SERVICE = "aws:ecs/service:Service"


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    return Schemas("aws", tmp_path_factory.mktemp("schemas"))


@pytest.mark.parametrize(
    ("token", "inputs", "mistakes"),
    [
        (SERVICE, {"cluster": "main", "desiredCount": 1, "tags": {"any": "key"}}, []),
        (SERVICE, {"clutser": "main"}, ["clutser: there is no such property; did you mean 'cluster'?"]),
        (SERVICE, {"desired_count": 1}, ["desired_count: there is no such property; did you mean 'desiredCount'?"]),
        (SERVICE, {"networkConfiguration": UNKNOWN, "loadBalancers": [UNKNOWN]}, []),
        (
            SERVICE,
            {"networkConfiguration": {"subnet": ["a"], "subnets": ["a"]}},
            ["networkConfiguration.subnet: there is no such property; did you mean 'subnets'?"],
        ),
        (
            SERVICE,
            {"loadBalancers": [{"containerName": "api", "containerPort": 1, "targetGroup": "arn"}]},
            ["loadBalancers[0].targetGroup: there is no such property; did you mean 'targetGroupArn'?"],
        ),
        (
            SERVICE,
            {"loadBalancers": [{"containerName": "api"}]},
            ["loadBalancers[0].containerPort: this property must be given"],
        ),
        ("aws:ssm/parameter:Parameter", {"valueWo": "x"}, ["type: this property must be given"]),
        ("aws:ssm/parameter:Parameter", {"type": UNKNOWN}, []),
        ("aws:no/such:Type", {"anything": 1}, []),
    ],
)
def test_names_are_checked_at_any_depth(schemas: Schemas, token: str, inputs: Any, mistakes: list[str]) -> None:
    assert list(schemas.mistakes(token, inputs)) == mistakes


def test_a_name_that_is_like_none_is_told_with_all_there_are(schemas: Schemas) -> None:
    [mistake] = schemas.mistakes(
        "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders", {"clusterName": "a", "zzz": 1}
    )
    assert mistake.startswith("zzz: there is no such property; there are capacityProviders, clusterName, ")


def test_the_sdk_has_every_type_of_the_stand_in(schemas: Schemas) -> None:
    missing = [token for token in (*TABLE, *REAL) if token not in schemas._modules]
    assert missing == []


def test_what_was_derived_once_is_read_from_the_cache(schemas: Schemas, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(schemas.mistakes(SERVICE, {})) == []
    again = Schemas("aws", schemas.cache)
    monkeypatch.setattr(Schemas, "_derived", lambda self, token: pytest.fail(f"{token} was derived again"))
    assert list(again.mistakes(SERVICE, {"clutser": "main"})) != []


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list(Schemas("aws", tmp_path / "file" / "cache").mistakes(SERVICE, {"clutser": "main"})) != []


def test_a_package_that_is_not_installed_has_no_names_to_check() -> None:
    assert list(Schemas.of_installed("no-such-package").mistakes("no-such-package:index:Thing", {"a": 1})) == []
