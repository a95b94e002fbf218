from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from local.providers.aws.kept import Kept
from local.providers.aws.place import place_in
from local.providers.aws.real import REAL
from local.providers.aws.table import TABLE

PLACE = place_in("eu-west-1")
INPUTS = {
    "name": "thing",
    "family": "api",
    "cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/main",
    "domainName": "a.example.com",
    "subjectAlternativeNames": ["b.example.com"],
    "fileSystemId": "fs-1",
    "groupName": "default",
    "resourceId": "service/main/api",
    "dashboardName": "overview",
    "repository": "thing",
    "clusterName": "main",
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))


def test_a_type_is_either_kept_or_real() -> None:
    assert not set(TABLE) & set(REAL)


@pytest.mark.parametrize("token", sorted(TABLE))
def test_every_row_fills_in_all_its_outputs(token: str) -> None:
    created = Kept(TABLE[token], PLACE).create("thing", dict(INPUTS))
    assert created.id
    for name, value in created.computed.items():
        assert "{" not in str(value) or isinstance(value, dict | list), (name, value)
    if "arn" in created.computed:
        assert str(created.computed["arn"]).startswith("arn:aws:")
    assert created.computed["region"] == "eu-west-1"


@pytest.mark.parametrize(
    ("token", "output", "pattern"),
    [
        ("aws:lb/loadBalancer:LoadBalancer", "arnSuffix", r"app/thing/[0-9a-f]{16}"),
        ("aws:lb/targetGroup:TargetGroup", "arnSuffix", r"targetgroup/thing/[0-9a-f]{16}"),
        ("aws:ecr/repository:Repository", "repositoryUrl", r"123456789012\.dkr\.ecr\.eu-west-1\.amazonaws\.com/thing"),
        (
            "aws:ec2/securityGroup:SecurityGroup",
            "arn",
            r"arn:aws:ec2:eu-west-1:123456789012:security-group/sg-[0-9a-f]{17}",
        ),
    ],
)
def test_outputs_have_the_shapes_of_aws(token: str, output: str, pattern: str) -> None:
    assert re.fullmatch(pattern, str(Kept(TABLE[token], PLACE).create("thing", dict(INPUTS)).computed[output]))


def test_a_certificate_is_proved_by_one_record_a_name() -> None:
    created = Kept(TABLE["aws:acm/certificate:Certificate"], PLACE).create("c", dict(INPUTS))
    options = created.computed["domainValidationOptions"]
    assert [option["domainName"] for option in options] == ["a.example.com", "b.example.com"]
    assert len({option["resourceRecordName"] for option in options}) == 2


def test_revisions_count_up_for_each_family_over_restarts() -> None:
    def revision(family: str) -> Any:
        kept = Kept(TABLE["aws:ecs/taskDefinition:TaskDefinition"], PLACE)
        return kept.create("t", {"family": family}).computed["revision"]

    assert [revision("api"), revision("api"), revision("worker"), revision("api")] == [1, 2, 1, 3]


def test_default_tags_are_in_all_tags() -> None:
    place = place_in("eu-west-1", {"app": "x", "owner": "y"})
    row = TABLE["aws:ecs/cluster:Cluster"]
    created = Kept(row, place).create("c", {"name": "c", "tags": {"owner": "z"}})
    assert created.computed["tagsAll"] == {"app": "x", "owner": "z"}
