from __future__ import annotations

from pathlib import Path

import pytest

from local.context_digest import go_mode, provider_context_digest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    context = tmp_path / "c"
    (context / "sub").mkdir(parents=True)
    files = {
        "Dockerfile": ("FROM scratch\n", 0o644),
        "app.py": ("print(1)\n", 0o644),
        "sub/run.sh": ("#!/bin/sh\n", 0o755),
        ".dockerignore": ("*.md\n", 0o644),
        "README.md": ("x\n", 0o600),
    }
    for name, (content, mode) in files.items():
        (context / name).write_text(content)
        (context / name).chmod(mode)
    (context / "link").symlink_to("sub/run.sh")
    return tmp_path


def digest(project: Path) -> str:
    return provider_context_digest(project / "c", project / "c" / "Dockerfile", project)


def test_it_is_what_the_provider_s_own_code_makes_of_the_same_files(project: Path) -> None:
    """The digests were made with `hashContext` of pulumi-docker 5.x and the fsutil that it is built with."""
    assert digest(project) == "d7aabb03aae288e6787d6c3f0dfcf4921c4310a58e824f161458f30ce0248a7e"
    (project / "c" / "app.py").chmod(0o664)
    assert digest(project) == "b92a430b5b2ce1f9277e357db2d7aaf0162b9949449231ed330e46f2af51d8ad"
    (project / "c" / "app.py").chmod(0o644)
    (project / "c" / "sub" / "run.sh").chmod(0o4755)
    assert digest(project) == "486ee560ffa1e67bb421961b9d62f2969b3ac9b261de675277270cbe2e9d0565"


def test_ignored_files_and_times_do_not_count_and_a_link_that_leads_nowhere_stops_it(project: Path) -> None:
    before = digest(project)
    (project / "c" / "README.md").write_text("y")
    (project / "c" / "app.py").touch()
    assert digest(project) == before
    (project / "c" / "link").unlink()
    (project / "c" / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        digest(project)


@pytest.mark.parametrize(
    ("mode", "spelt"),
    [
        (0o100644, "-rw-r--r--"),
        (0o104755, "urwxr-xr-x"),
        (0o106711, "ugrwx--x--x"),
        (0o101777, "trwxrwxrwx"),
        (0o120777, "Lrwxrwxrwx"),
    ],
)
def test_modes_are_spelt_as_go_spells_them(mode: int, spelt: str) -> None:
    assert go_mode(mode) == spelt
