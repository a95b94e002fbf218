from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.build_context import BuildContext, digest_of


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def context_digest(folder: Path) -> str:
    return BuildContext.read(folder).digest


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return write(tmp_path, {"Dockerfile": "FROM scratch", "app.py": "1", "sub/part.py": "2"})


def test_the_same_files_make_the_same_digest_elsewhere(context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write(tmp_path_factory.mktemp("other"), {"sub/part.py": "2", "app.py": "1", "Dockerfile": "FROM scratch"})
    assert context_digest(context) == context_digest(other)


def test_a_change_of_content_name_or_executable_bit_makes_another(context: Path) -> None:
    seen = {context_digest(context)}
    (context / "app.py").write_text("2")
    seen.add(context_digest(context))
    (context / "app.py").chmod(0o755)
    seen.add(context_digest(context))
    (context / "app.py").rename(context / "app2.py")
    seen.add(context_digest(context))
    (context / "Dockerfile").write_text("FROM other")
    seen.add(context_digest(context))
    (context / "link").symlink_to("app2.py")
    seen.add(context_digest(context))
    assert len(seen) == 6


def test_what_a_checkout_does_not_reproduce_does_not_count(context: Path) -> None:
    before = context_digest(context)
    (context / "app.py").chmod(0o600)
    (context / "app.py").touch()
    write(context, {"__pycache__/app.cpython-311.pyc": "x", "sub/__pycache__/part.pyc": "x"})
    (context / "empty").mkdir()
    assert context_digest(context) == before


@pytest.mark.parametrize(
    ("patterns", "ignored", "counted"),
    [
        (["*.md"], ["README.md"], ["sub/README.md", "md"]),
        (["**/*.md"], ["README.md", "sub/deep/README.md"], ["README.mdx"]),
        (["docs"], ["docs/a.txt", "docs/deep/b.txt"], ["docs2/a.txt"]),
        (["/docs/"], ["docs/a.txt"], ["sub/docs/a.txt"]),
        (["*", "!*.py", "!keep"], ["other.txt", "sub/x.py"], ["new.py", "keep/any.txt"]),
        (["temp?"], ["temp1"], ["temp", "temp12"]),
        (["# no comment", "", "a.txt"], ["a.txt"], ["b.txt"]),
        (["**/secret"], ["secret", "a/secret", "a/b/secret/c"], ["secrets"]),
        (["a.txt", "!a.txt"], [], ["a.txt"]),
        (["v[0-9].txt", "w[^a-c]"], ["v1.txt", "w1"], ["vx.txt", "wa"]),
        (["a[b", "c[]d"], ["a[b", "c[]d"], ["ab"]),
        (["a/**/b.txt", "!a/"], ["a/c/b.txt"], ["a/c/d.txt"]),
        (["docs", "!docs/kept"], ["docs/a.txt"], ["docs/kept"]),
    ],
)
def test_dockerignore_is_honoured(context: Path, patterns: list[str], ignored: list[str], counted: list[str]) -> None:
    (context / ".dockerignore").write_text("\n".join(patterns))
    before = context_digest(context)
    write(context, dict.fromkeys(ignored, "ignored"))
    assert context_digest(context) == before
    for name in counted:
        write(context, {name: "counted"})
        assert context_digest(context) != before, name
        before = context_digest(context)


def test_the_dockerfile_counts_even_when_it_is_ignored(context: Path) -> None:
    (context / ".dockerignore").write_text("*")
    before = context_digest(context)
    (context / "Dockerfile").write_text("FROM other")
    assert context_digest(context) != before


def test_an_ignore_file_of_the_dockerfile_s_own_comes_first_and_neither_is_part_of_the_image(context: Path) -> None:
    before = context_digest(context)
    write(context, {"Dockerfile.dockerignore": "first", ".dockerignore": "second", "first": "ignored"})
    assert context_digest(context) == before
    write(context, {"second": "counted"})
    assert context_digest(context) != before


def test_what_is_neither_file_nor_link_does_not_count(context: Path) -> None:
    before = context_digest(context)
    os.mkfifo(context / "pipe")
    assert context_digest(context) == before


def test_a_folder_can_be_left_out(context: Path) -> None:
    before = context_digest(context)
    write(context, {"sub/copies/app.py": "1"})
    assert BuildContext.read(context, without=context / "sub" / "copies").digest == before


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_different_texts_never_make_the_same_digest(first: list[str], second: list[str]) -> None:
    assert (digest_of(*first) == digest_of(*second)) == (first == second)
