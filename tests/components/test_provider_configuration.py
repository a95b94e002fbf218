from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from components.provider_configuration import namespace_mistakes, region_mistakes


def names(*keys: str) -> list[str]:
    return [mistake.name for mistake in namespace_mistakes("shop", keys)]


def test_namespaces_are_the_project_s_pulumi_s_and_those_of_installed_providers() -> None:
    assert names("shop:anything", "pulumi:tags", "aws:region", "docker:host", "random:seed", "command:shell") == []
    assert names("shopp:size", "aw:region", "kubernetes:context") == ["aw:region", "kubernetes:context", "shopp:size"]


def test_a_provider_s_keys_are_those_of_its_sdk() -> None:
    assert names("aws:defaultTags", "aws:s3UsePathStyle", "aws:skipRegionValidation", "docker:registryAuth") == []
    assert names("aws:regoin", "aws:default_tags", "docker:hosts") == ["aws:default_tags", "aws:regoin", "docker:hosts"]
    (mistake,) = namespace_mistakes("shop", {"aws:regoin"})
    assert "did you mean aws:region?" in mistake.remedy


@pytest.mark.parametrize("content", [{}, {"vars": ModuleType("vars")}], ids=("no module vars", "no properties"))
def test_a_provider_whose_sdk_is_made_otherwise_has_keys_that_nobody_knows(
    content: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ModuleType("pulumi_docker.config")
    other.__spec__ = ModuleSpec(other.__name__, None)
    other.__dict__.update(content)
    monkeypatch.setitem(sys.modules, other.__name__, other)
    assert names("docker:hosts", "aws:regoin") == ["aws:regoin"]


@pytest.mark.parametrize("values", [{}, {"aws:region": ""}])
def test_a_region_must_be_written_down(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever runs it with another one would deploy a second stack elsewhere.
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    (mistake,) = region_mistakes(values)
    assert (mistake.name, mistake.value) == ("aws:region", "(missing)")
    assert "AWS_REGION" in mistake.allowed and "pulumi config set aws:region" in mistake.remedy


def test_a_region_must_be_one_that_the_provider_knows() -> None:
    assert not list(region_mistakes({"aws:region": "eu-central-1"}))
    for skip in ({}, {"aws:skipRegionValidation": "false"}):
        (mistake,) = region_mistakes({"aws:region": "eu-nowhere-9", **skip})
        assert (mistake.name, mistake.value) == ("aws:region", "eu-nowhere-9")
    assert not list(region_mistakes({"aws:region": "eu-nowhere-9", "aws:skipRegionValidation": "true"}))
