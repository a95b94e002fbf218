from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster import capacity_shares
from tests.components import parts
from tests.components.deployment import Deployment, deploy_twice


@pytest.fixture(scope="module")
def cluster() -> Deployment:
    return deploy_twice(lambda: parts.cluster(log_retention_days=7))


def test_container_insights_is_on_and_its_log_group_ends(cluster: Deployment) -> None:
    assert cluster.one(":Cluster").inputs["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    group = cluster.one(":LogGroup").inputs
    assert group["name"] == "/aws/ecs/containerinsights/cluster-1a2b3c4/performance"
    assert group["retentionInDays"] == 7


def test_both_fargate_providers_are_there_and_on_demand_is_the_default(cluster: Deployment) -> None:
    providers = cluster.one(":ClusterCapacityProviders").inputs
    assert providers["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert providers["defaultCapacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 1}]


@given(st.integers(0, 100))
def test_shares_are_weights_above_nought_that_make_up_a_hundred(percent: int) -> None:
    shares = capacity_shares(percent)
    assert sum(shares.values()) == 100
    assert all(shares.values())
    assert shares.get("FARGATE_SPOT", 0) == percent
