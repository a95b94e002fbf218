from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from local.runner import Runner
from local.runner.agent import AgentEndpoint, Registration
from tests.local.runner.fakes import TASK_ROLE, resource, service, task_definition

pytestmark = pytest.mark.anyio

ARN = "arn:aws:ecs:eu-west-1:123456789012:task/cluster/1234"


def policy(action: str = "ecs:UpdateTaskProtection", on: str = "arn:aws:ecs:*:*:task/cluster/*") -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": on}]}


@pytest.fixture
async def agent(anyio_backend: str) -> AsyncIterator[AgentEndpoint]:
    agent = AgentEndpoint()
    agent.policies = {"task": [policy(), policy("ecs:GetTaskProtection")]}
    await agent.start()
    yield agent
    await agent.stop()


async def ask(task: Registration, content: Any = None, path: str = "/task-protection/v1/state") -> httpx2.Response:
    method = "GET" if content is None else "PUT"
    async with httpx2.AsyncClient(verify=False) as client:
        url = task.environment["ECS_AGENT_URI"] + path
        if isinstance(content, bytes):
            return await client.request(method, url, content=content)
        return await client.request(method, url, json=content)


async def test_protection_begins_ends_and_expires(agent: AgentEndpoint) -> None:
    now = 1_700_000_000.0
    task = agent.register(ARN, TASK_ROLE)
    task.clock = lambda: now
    assert not task.protected
    answer = await ask(task, {"ProtectionEnabled": True, "ExpiresInMinutes": 60})
    assert answer.status_code == 200
    assert answer.json() == {
        "protection": {"ProtectionEnabled": True, "ExpirationDate": "2023-11-14T23:13:20.000Z", "TaskArn": ARN}
    }
    assert task.protected
    now += 3600
    assert not task.protected
    assert (await ask(task)).json()["protection"]["ProtectionEnabled"] is False
    await ask(task, {"ProtectionEnabled": True})
    now += 119 * 60
    assert task.protected, "two hours, if nothing is said"
    await ask(task, {"ProtectionEnabled": False})
    assert not task.protected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        {},
        {"ProtectionEnabled": "true"},
        {"ProtectionEnabled": True, "ExpiresInMinutes": 0},
        {"ProtectionEnabled": True, "ExpiresInMinutes": 2881},
        {"ProtectionEnabled": True, "ExpiresInMinutes": "5"},
        {"ProtectionEnabled": True, "Other": 1},
    ],
)
async def test_what_ecs_refuses_is_refused(agent: AgentEndpoint, content: Any) -> None:
    task = agent.register(ARN, TASK_ROLE)
    answer = await ask(task, content)
    assert answer.status_code == 400
    assert answer.json()["error"]["Code"] == "InvalidParameterException"
    assert not task.protected


@pytest.mark.parametrize(
    "policies",
    [
        {},
        {"other": [policy()]},
        {"task": [policy("ecs:GetTaskProtection")]},
        {"task": [policy(on="arn:aws:ecs:*:*:task/elsewhere/*")]},
    ],
)
async def test_a_task_whose_role_may_not_is_refused(agent: AgentEndpoint, policies: Any) -> None:
    agent.policies = policies
    task = agent.register(ARN, TASK_ROLE)
    answer = await ask(task, {"ProtectionEnabled": True})
    assert answer.status_code == 400
    assert answer.json()["error"]["Code"] == "AccessDeniedException"
    assert f"ecs:UpdateTaskProtection on resource: {ARN}" in answer.json()["error"]["Message"]
    assert not task.protected


async def test_a_task_of_no_service_can_not_be_protected(agent: AgentEndpoint) -> None:
    answer = await ask(agent.register("", TASK_ROLE), {"ProtectionEnabled": True})
    assert answer.status_code == 200
    assert answer.json()["failure"]["Reason"] == "TASK_NOT_VALID"


async def test_a_stopped_task_has_no_agent_any_more(agent: AgentEndpoint) -> None:
    task = agent.register(ARN, TASK_ROLE)
    assert (await ask(task, path="/elsewhere")).status_code == 404
    agent.forget(task)
    assert (await ask(task)).status_code == 404


async def test_a_scale_in_stops_the_tasks_first_that_are_not_protected(runner: Runner) -> None:
    role_policy = resource("aws:iam/rolePolicy:RolePolicy", "policy", {"role": "task", "policy": policy()})

    def stack(count: int) -> list[dict[str, Any]]:
        return [
            role_policy,
            task_definition("worker", 1, container={"command": ["idle"]}),
            service("worker", 1, balanced=False, desiredCount=count),
        ]

    assert (await runner.apply(stack(3))).ok
    keeper = next(iter(runner._services.values()))
    # The oldest, and the first in every list: without protection it would go first.
    protected = keeper.tasks[0]
    registration = protected._registration
    assert registration is not None
    assert (await ask(registration, {"ProtectionEnabled": True, "ExpiresInMinutes": 5})).status_code == 200
    assert protected.protected
    assert (await runner.apply(stack(1))).ok
    assert keeper.tasks == [protected]
    assert (await runner.apply(stack(0))).ok, "when there is no other, it is stopped all the same"
    assert keeper.tasks == []
