from __future__ import annotations

from pathlib import Path

import pytest

from local.images import Images

DOCKERFILE = """
FROM debian AS build
ENTRYPOINT ["not", "this"]
COPY *.py /app/service/
FROM debian
COPY --from=build /app /app
WORKDIR /app
ENV PYTHONUNBUFFERED=1 \\
    MALLOC_="a b" PATH=/opt/bin:$PATH
# ENTRYPOINT ["nor", "this"]
ENTRYPOINT ["python", "-m", "service"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "service"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "a.pyc").write_bytes(b"")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "__main__.py").write_text("print(1)")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "images")


def test_an_image_keeps_the_files_it_was_built_from(images: Images, context: Path) -> None:
    digest = images.build(context, context / "Dockerfile")
    (context / "__main__.py").write_text("print(2)")
    image = images.find(f"registry/service@sha256:{digest}")
    assert (image.path / "service" / "__main__.py").read_text() == "print(1)"
    assert not (image.path / "service" / "__pycache__" / "a.pyc").exists()
    assert list((image.path / "service" / "__pycache__").glob("__main__.*.pyc")), "compiled when it is built"
    assert images.build(context, context / "Dockerfile") != digest


def test_an_image_runs_as_the_last_stage_says(images: Images, context: Path) -> None:
    image = images.find(f"r@sha256:{images.build(context, context / 'Dockerfile')}")
    assert image.entrypoint == ("python", "-m", "service")
    # The folders of a container's PATH mean nothing here.
    assert image.environment == {"PYTHONUNBUFFERED": "1", "MALLOC_": "a b"}


def test_an_image_holds_what_its_dockerfile_copies_and_not_the_dockerfile(images: Images, context: Path) -> None:
    image = images.find(f"r@sha256:{images.build(context, context / 'Dockerfile')}")
    held = {path.relative_to(image.path).as_posix() for path in image.path.rglob("*") if path.suffix != ".pyc"}
    assert held == {"image.json", "service", "service/__main__.py", "service/__pycache__"}


def test_files_keep_their_modes_and_another_mode_is_another_image(images: Images, context: Path) -> None:
    (context / "__main__.py").chmod(0o755)
    first = images.build(context, context / "Dockerfile")
    assert (images.find(f"r@sha256:{first}").path / "service" / "__main__.py").stat().st_mode & 0o777 == 0o755
    (context / "__main__.py").chmod(0o775)
    assert images.build(context, context / "Dockerfile") != first


def test_building_twice_is_one_image(images: Images, context: Path) -> None:
    first = images.build(context, context / "Dockerfile")
    assert images.build(context, context / "Dockerfile") == first
    assert [folder.name for folder in images.folder.iterdir()] == [first]


@pytest.mark.parametrize("reference", ["registry/service:latest", f"registry/service@sha256:{'0' * 64}"])
def test_an_image_that_was_not_built_here_is_named(images: Images, reference: str) -> None:
    with pytest.raises(LookupError, match="was not built on this machine"):
        images.find(reference)


@pytest.mark.parametrize("entrypoint", ["", "ENTRYPOINT python -m service"])
def test_an_entry_point_that_is_no_exec_form_is_refused(images: Images, context: Path, entrypoint: str) -> None:
    (context / "Dockerfile").write_text(f"FROM debian\n{entrypoint}\n")
    with pytest.raises(ValueError, match="exec form"):
        images.build(context, context / "Dockerfile")
