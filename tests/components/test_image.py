from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components import ArgumentError
from components.build_context import context_files
from components.image import KEEP_IMAGES
from tests.components import cloud, parts
from tests.components.deployment import Deployment, deploy, deploy_twice

SERVICE = Path(__file__).parents[2] / "service"


@pytest.fixture(scope="module")
def image() -> Deployment:
    return deploy_twice(lambda: parts.image())


def _tag(**arguments: Any) -> str:
    return str(deploy(lambda: parts.image(**arguments)).one("docker:index/image:Image").inputs["imageName"])


def test_it_is_built_from_the_context_and_pushed_to_a_repository_of_its_own(image: Deployment) -> None:
    inputs = image.one("docker:index/image:Image").inputs
    assert inputs["build"] == {
        "context": str(parts.CONTEXT),
        "dockerfile": f"{parts.CONTEXT}/Dockerfile",
        "platform": "linux/amd64",
        "builderVersion": "BuilderBuildKit",
        "args": {},
    }
    repository, _, tag = inputs["imageName"].rpartition(":")
    assert (
        repository == inputs["registry"]["server"] == f"{cloud.ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/service-1a2b3c4"
    )
    assert len(tag) == 32


def test_the_registry_s_password_is_a_secret(image: Deployment) -> None:
    raw = image.one("docker:index/image:Image").raw_inputs["registry"]
    assert "ecr-password" in str(raw)
    assert raw["password"]["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"


def test_the_tag_follows_from_all_that_the_image_is_built_from() -> None:
    tags = {_tag(), _tag(platform="linux/arm64"), _tag(base_image="python:3.13-slim")}
    assert len(tags) == 3
    assert _tag() in tags


def test_the_service_s_image_is_built_from_its_modules_what_they_read_and_the_locked_packages_alone() -> None:
    modules = {file.name for file in SERVICE.glob("*.py")}
    assert modules
    assert {file.as_posix() for file in context_files(SERVICE)} == modules | {
        *(".dockerignore", "Dockerfile", "docs.html", "openapi.json"),
        *("requirements.txt", "requirements-otel.txt"),
    }


def test_a_base_image_goes_into_the_build() -> None:
    build = deploy(lambda: parts.image(base_image="mirror/python")).one("docker:index/image:Image").inputs["build"]
    assert build["args"] == {"BASE_IMAGE": "mirror/python"}


def test_trap_41_no_rule_by_age_or_tag_can_expire_a_digest_in_use(image: Deployment) -> None:
    (rule,) = image.one(":LifecyclePolicy").json("policy")["rules"]
    assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEEP_IMAGES}
    assert KEEP_IMAGES >= 100


def test_trap_40_a_repository_with_images_is_deleted_only_outside_production(image: Deployment) -> None:
    assert image.one(":Repository").inputs["forceDelete"] is True
    assert deploy(lambda: parts.image(protected=True)).one(":Repository").inputs["forceDelete"] is False


def test_images_are_scanned(image: Deployment) -> None:
    assert image.one(":Repository").inputs["imageScanningConfiguration"] == {"scanOnPush": True}


def test_a_folder_without_a_dockerfile_and_an_unknown_platform_are_told_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        parts.image(context="nowhere", platform="windows/amd64")
    assert [mistake.name for mistake in caught.value.mistakes] == ["context", "platform"]
