from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from botocore.credentials import ContainerProvider

from local.runner.credentials import CredentialsEndpoint
from tests.local.runner.fakes import TASK_ROLE, FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
async def endpoint(anyio_backend: str, cloud: FakeCloud) -> AsyncIterator[CredentialsEndpoint]:
    endpoint = CredentialsEndpoint(cloud)
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


async def get(url: str, token: str | None = None, method: str = "GET") -> httpx2.Response:
    async with httpx2.AsyncClient(verify=False) as client:
        return await client.request(method, url, headers={"Authorization": token} if token else {})


async def test_answers_in_the_form_that_the_sdk_reads(endpoint: CredentialsEndpoint) -> None:
    grant = endpoint.grant(TASK_ROLE)
    response = await get(grant.url, grant.token)
    body = response.json()
    assert response.status_code == 200
    assert body["AccessKeyId"] == f"key-of-{TASK_ROLE}"
    assert body.keys() == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    expiration = datetime.strptime(body["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert expiration > datetime.now(UTC) + timedelta(minutes=50)


async def test_refuses_a_missing_a_wrong_and_another_tasks_token(endpoint: CredentialsEndpoint) -> None:
    grant, other = endpoint.grant(TASK_ROLE), endpoint.grant(TASK_ROLE)
    for token in (None, "wrong", other.token):
        response = await get(grant.url, token)
        assert response.status_code == 403
        assert "AccessKeyId" not in response.json()


async def test_a_stopped_task_has_no_credentials_any_more(endpoint: CredentialsEndpoint) -> None:
    grant = endpoint.grant(TASK_ROLE)
    endpoint.revoke(grant)
    assert (await get(grant.url, grant.token)).status_code == 404
    assert (await get(grant.url + "/x", grant.token)).status_code == 404


async def test_says_which_role_cannot_be_assumed(endpoint: CredentialsEndpoint) -> None:
    grant = endpoint.grant("arn:aws:iam::123456789012:role/missing")
    response = await get(grant.url, grant.token)
    assert response.status_code == 500
    assert "role/missing" in response.json()["message"]


async def test_only_get_is_answered(endpoint: CredentialsEndpoint) -> None:
    grant = endpoint.grant(TASK_ROLE)
    assert (await get(grant.url, grant.token, "PUT")).status_code == 404


async def test_botocore_finds_the_credentials_by_the_environment(endpoint: CredentialsEndpoint) -> None:
    grant = endpoint.grant(TASK_ROLE)
    provider = ContainerProvider(environ=dict(grant.environment))
    found = await asyncio.to_thread(provider.load)
    assert found.access_key == f"key-of-{TASK_ROLE}"
