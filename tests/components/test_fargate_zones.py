from __future__ import annotations

import pulumi
import pytest

from components.fargate_zones import fargate_zones, has_fargate
from tests.components import vpcs
from tests.components.deployment import deploy

TOKYO = {
    "ap-northeast-1d": "apne1-az2",
    "ap-northeast-1a": "apne1-az4",
    "ap-northeast-1b": "apne1-az3",
    "ap-northeast-1c": "apne1-az1",
}


def test_a_zone_without_fargate_is_skipped_by_what_its_name_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpcs, "ZONE_IDS", TOKYO)
    found: list[str] = []
    deploy(lambda: found.extend(fargate_zones(pulumi.ComponentResource("test:index:Parent", "parent"))))
    assert found == ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]


@pytest.mark.parametrize(
    ("zone_id", "runs"),
    [
        ("apne1-az3", False),
        ("cnn1-az2", True),
        ("cnn1-az3", False),
        ("usw1-az2", False),
        ("usw1-az3", True),
        # The regions beside them, and one whose zones all have it.
        ("apne3-az3", True),
        ("cnnw1-az3", True),
        ("use1-az3", True),
    ],
)
def test_zones_have_fargate_as_aws_lists_them(zone_id: str, runs: bool) -> None:
    assert has_fargate(zone_id) is runs
