from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from components import ArgumentError
from components.build_context import context_paths, digest_of
from components.image import KEEP_IMAGES
from components.staged_context import ContextChanged, stage
from local.dockerfile import Dockerfile
from tests.components import cloud, parts
from tests.components.deployment import Deployment, deploy, deploy_twice

SERVICE = Path(__file__).parents[2] / "service"
IMAGE = "docker:index/image:Image"
DOCKERFILE = "ARG BASE_IMAGE=a EXTRAS\nFROM ${BASE_IMAGE}\n  arg VERSION=1\n"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@pytest.fixture(scope="module")
def image() -> Deployment:
    return deploy_twice(lambda: parts.image())


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A context of the test's own, in a project of its own."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "app.py").write_text("1")
    return "app"


def _tag(**arguments: Any) -> str:
    return str(deploy(lambda: parts.image(**arguments)).one(IMAGE).inputs["imageName"])


def _mistake(**arguments: Any) -> Any:
    with pytest.raises(ArgumentError) as caught:
        parts.image(**arguments)
    [mistake] = caught.value.mistakes
    return mistake


def test_it_is_built_from_the_context_and_pushed_to_a_repository_of_its_own(image: Deployment) -> None:
    inputs = image.one(IMAGE).inputs
    staged = stage(parts.CONTEXT)
    assert inputs["build"] == {
        "context": staged.path,
        "dockerfile": f"{staged.path}/Dockerfile",
        "platform": "linux/amd64",
        "builderVersion": "BuilderBuildKit",
        "args": {},
    }
    repository, _, tag = inputs["imageName"].rpartition(":")
    assert (
        repository == inputs["registry"]["server"] == f"{cloud.ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/service-1a2b3c4"
    )
    assert tag == digest_of(staged.digest, "linux/amd64")[:32]


def test_the_registry_s_password_is_a_secret(image: Deployment) -> None:
    raw = image.one(IMAGE).raw_inputs["registry"]
    assert "ecr-password" in str(raw)
    assert raw["password"]["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"
    assert raw["username"] == "AWS"


def test_a_preview_neither_asks_for_the_registry_s_password_nor_knows_it() -> None:
    preview = deploy(lambda: parts.image(), preview=True)
    assert preview.one(IMAGE).raw_inputs["registry"]["password"] == UNKNOWN
    assert not [token for token in preview.invokes if "AuthorizationToken" in token]


def test_two_runs_on_two_checkouts_with_two_umasks_register_the_same_build(context: str, tmp_path: Path) -> None:
    first = deploy(lambda: parts.image(context=context)).one(IMAGE).inputs
    other = tmp_path / "elsewhere"
    other.mkdir(mode=0o775)
    for file in Path(context).iterdir():
        (other / file.name).write_bytes(file.read_bytes())
        (other / file.name).chmod(0o664)
    second = deploy(lambda: parts.image(context=str(other))).one(IMAGE).inputs
    assert (first["build"], first["imageName"]) == (second["build"], second["imageName"])


def test_the_tag_follows_from_all_that_the_image_is_built_from(context: str) -> None:
    tags = {
        _tag(context=context),
        _tag(context=context, platform="linux/arm64"),
        _tag(context=context, build_args={"VERSION": "2"}),
        _tag(context=context, build_args={"EXTRAS": "2"}),
    }
    assert len(tags) == 4
    assert _tag(context=context, build_args={"EXTRAS": ""}) in tags
    (Path(context) / "app.py").write_text("2")
    assert _tag(context=context) not in tags


def test_the_service_s_image_holds_its_modules_and_what_they_read_and_nothing_else() -> None:
    modules = {file.relative_to(SERVICE).as_posix() for file in SERVICE.rglob("*.py")}
    sent = [path.relative_to(SERVICE) for path in context_paths(SERVICE)]
    packages = {"requirements.txt", "requirements-otel.txt"}
    documents = {"http/docs.html", "http/openapi.json"}
    assert modules
    assert {file.as_posix() for file in sent} == modules | packages | documents | {"Dockerfile"}
    placed = Dockerfile.read(SERVICE / "Dockerfile").placed(sent)
    assert {place.as_posix() for place in placed.values()} == {f"service/{name}" for name in modules | documents}


def test_build_arguments_go_into_the_build_and_an_empty_one_leaves_the_dockerfile_s_own(context: str) -> None:
    arguments = {"BASE_IMAGE": "mirror/python", "EXTRAS": "", "VERSION": "2", "HTTPS_PROXY": "http://proxy"}
    build = deploy(lambda: parts.image(context=context, build_args=arguments)).one(IMAGE).inputs["build"]
    assert build["args"] == {"BASE_IMAGE": "mirror/python", "VERSION": "2", "HTTPS_PROXY": "http://proxy"}


def test_a_build_argument_that_the_dockerfile_has_not_is_named_with_the_nearest(context: str) -> None:
    mistake = _mistake(context=context, build_args={"BASE_IMAGES": "x"})
    assert (mistake.name, mistake.value) == ("build_args key", "'BASE_IMAGES'")
    assert mistake.allowed == "the name of an ARG in app/Dockerfile"
    assert mistake.remedy == "did you mean BASE_IMAGE?"


def test_trap_41_no_rule_by_age_or_tag_can_expire_a_digest_in_use(image: Deployment) -> None:
    (rule,) = image.one(":LifecyclePolicy").json("policy")["rules"]
    assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEEP_IMAGES}
    assert KEEP_IMAGES >= 100


def test_trap_40_a_repository_with_images_is_deleted_only_outside_production(image: Deployment) -> None:
    assert image.one(":Repository").inputs["forceDelete"] is True
    assert deploy(lambda: parts.image(protected=True)).one(":Repository").inputs["forceDelete"] is False


def test_images_are_scanned(image: Deployment) -> None:
    assert image.one(":Repository").inputs["imageScanningConfiguration"] == {"scanOnPush": True}


def test_every_argument_is_checked_at_once_and_nothing_is_registered() -> None:
    def program() -> None:
        with pytest.raises(ArgumentError) as caught:
            parts.image(
                context="nowhere", platform="windows/amd64", protected="yes", build_args={"A-B": 1}, opts="parent"
            )
        assert [mistake.name for mistake in caught.value.mistakes] == [
            "context",
            "protected",
            "platform",
            "build_args key",
            "build_args['A-B']",
            "opts",
        ]

    assert deploy(program).resources == []


def test_overrides_reach_each_child() -> None:
    overrides = {
        "repository": {"image_tag_mutability": "IMMUTABLE"},
        "lifecycle": {"policy": "{}"},
        "image": {"skip_push": True},
    }
    changed = deploy(lambda: parts.image(overrides=overrides))
    assert changed.one(":Repository").inputs["imageTagMutability"] == "IMMUTABLE"
    assert changed.one(":LifecyclePolicy").inputs["policy"] == "{}"
    assert changed.one(IMAGE).inputs["skipPush"] is True


@pytest.mark.parametrize("wrong", ["", "app/Dockerfile", "nowhere"])
def test_a_context_that_is_no_folder_with_a_dockerfile_is_told(context: str, wrong: str) -> None:
    mistake = _mistake(context=wrong)
    assert (mistake.name, mistake.value) == ("context", repr(wrong))


def test_a_context_may_lie_outside_the_project_and_only_its_copy_is_named(context: str, tmp_path: Path) -> None:
    inside = deploy(lambda: parts.image(context=context)).one(IMAGE).inputs["build"]
    (tmp_path / "project").mkdir()
    with contextlib.chdir(tmp_path / "project"):
        relative = deploy(lambda: parts.image(context="../app")).one(IMAGE).inputs["build"]
        absolute = deploy(lambda: parts.image(context=str(tmp_path / "app"))).one(IMAGE).inputs["build"]
    assert relative == absolute == inside


def test_a_link_out_of_the_context_is_told_with_what_to_do(context: str) -> None:
    (Path(context) / "shared").symlink_to("../shared")
    mistake = _mistake(context=context)
    assert (mistake.name, mistake.value) == ("context", "'app', where app/shared leads out of it")
    assert "ignore the link" in mistake.remedy


def test_a_project_folder_that_can_not_be_written_is_told(context: str) -> None:
    Path(".build").write_text("a file in its place")
    mistake = _mistake(context=context)
    assert mistake.name == "context"
    assert ".build" in mistake.value and ".build/" in mistake.allowed


def test_a_file_that_changes_while_it_is_copied_is_told(context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(context: Path) -> None:
        raise ContextChanged(str(context / "app.py"))

    monkeypatch.setattr("components.image.stage", changing)
    assert _mistake(context=context).value == "'app', where app/app.py is being written"
