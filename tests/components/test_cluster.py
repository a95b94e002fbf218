from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster import capacity_shares
from tests.components import parts
from tests.components.deployment import Deployment, deploy, deploy_twice


@pytest.fixture(scope="module")
def cluster() -> Deployment:
    return deploy_twice(lambda: parts.cluster(log_retention_days=7))


def test_container_insights_is_on_and_its_log_group_ends(cluster: Deployment) -> None:
    assert cluster.one(":Cluster").inputs["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    group = cluster.one(":LogGroup").inputs
    assert group["name"] == "/aws/ecs/containerinsights/cluster-1a2b3c4/performance"
    assert group["retentionInDays"] == 7
    assert group["skipDestroy"] is False
    assert deploy(lambda: parts.cluster(retain_logs=True)).one(":LogGroup").inputs["skipDestroy"] is True


def test_both_fargate_providers_are_there_and_on_demand_is_the_default(cluster: Deployment) -> None:
    providers = cluster.one(":ClusterCapacityProviders").inputs
    assert providers["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert providers["defaultCapacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 1}]


@given(st.integers(0, 100))
def test_the_first_task_is_on_demand_and_the_share_counts_beyond_it(percent: int) -> None:
    shares = {share.provider: share for share in capacity_shares(percent)}
    # A provider with a weight of nought can't place the first task either, and 1,000 is the most.
    assert all(1 <= share.weight <= 1000 for share in shares.values())
    weights = {provider: share.weight for provider, share in shares.items()}
    assert 100 * weights.get("FARGATE_SPOT", 0) / sum(weights.values()) == pytest.approx(percent, abs=0.1)
    # One provider alone may have a base.
    assert [provider for provider, share in shares.items() if share.base] == (["FARGATE"] if percent else [])
