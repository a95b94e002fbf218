from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental.provider import CheckRequest, DiffRequest

from local.providers.docker.plugin import DockerStandIn
from local.providers.values import UNKNOWN, from_plain, to_plain

URN = "urn:pulumi:local::p::ecs-file-ingest:index:Image$docker:index/image:Image::service"
REGISTRY = {"server": "registry/service", "username": "AWS", "password": "first"}
STATE = {"imageName": "registry/service:1", "build": {"context": "c"}, "registry": REGISTRY, "repoDigest": "r@sha256:1"}


def changed(**news: Any) -> list[str]:
    inputs = {key: value for key, value in STATE.items() if key != "repoDigest"} | news
    request = DiffRequest(URN, "id", from_plain(STATE), from_plain(inputs), [])
    return sorted(asyncio.run(DockerStandIn().diff(request)).detailed_diff)


@pytest.mark.parametrize("password", ["first", "second", UNKNOWN])
def test_credentials_build_nothing_again(password: object) -> None:
    assert changed(registry=REGISTRY | {"password": password}) == []


def test_another_registry_name_or_context_does() -> None:
    assert changed(registry=REGISTRY | {"server": "other"}) == ["registry"]
    assert changed(imageName="registry/service:2", build={"context": "d"}) == ["build", "imageName"]


def test_the_whole_mode_of_a_file_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    inputs = {"imageName": "registry/service:1", "build": {"context": str(tmp_path)}}
    digests = []
    for mode in (0o644, 0o664):
        (tmp_path / "Dockerfile").chmod(mode)
        request = CheckRequest(URN, {}, from_plain(inputs), b"seed")
        checked = asyncio.run(DockerStandIn().check(request)).inputs
        digests.append(to_plain(checked or {})["build"]["contextDigest"])
    assert digests[0] != digests[1]
