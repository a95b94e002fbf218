from __future__ import annotations

import pytest

from components.task_network import TaskNetwork
from tests.components import parts
from tests.components.deployment import Deployment, deploy_twice


@pytest.fixture(scope="module")
def network() -> Deployment:
    def program() -> None:
        inside = parts.network()
        TaskNetwork("api", network=inside, uses=[parts.volume(inside).mounted_at("/mnt/efs")])

    return deploy_twice(program)


def test_trap_5_and_7_groups_are_empty_and_constantly_described(network: Deployment) -> None:
    for group in network.all(":SecurityGroup"):
        assert "ingress" not in group.inputs and "egress" not in group.inputs
        assert "api" not in group.inputs["description"]


def test_trap_8_rules_are_of_the_kind_that_can_be_replaced_in_any_order(network: Deployment) -> None:
    assert {resource.type for resource in network.resources if "ule" in resource.type} == {
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }


def test_trap_6_out_go_https_and_what_the_uses_reach(network: Deployment) -> None:
    rules = {rule.name: rule.inputs for rule in network.all(":SecurityGroupEgressRule")}
    assert set(rules) == {"api-tasks-to-https", "api-tasks-to-files"}
    https, files = rules["api-tasks-to-https"], rules["api-tasks-to-files"]
    assert (https["fromPort"], https["toPort"], https["cidrIpv4"]) == (443, 443, "0.0.0.0/0")
    assert (files["fromPort"], files["toPort"]) == (2049, 2049)
    assert files["referencedSecurityGroupId"] == "files-mounts-id"
    assert {rule["securityGroupId"] for rule in rules.values()} == {"api-tasks-id"}
    assert {rule["ipProtocol"] for rule in rules.values()} == {"tcp"}


def test_the_tasks_are_let_into_what_they_reach_and_nothing_is_let_into_the_tasks(network: Deployment) -> None:
    rule = network.one(":SecurityGroupIngressRule").inputs
    assert rule["securityGroupId"] == "files-mounts-id"
    assert rule["referencedSecurityGroupId"] == "api-tasks-id"
    assert (rule["fromPort"], rule["toPort"]) == (2049, 2049)
