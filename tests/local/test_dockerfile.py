from __future__ import annotations

from pathlib import Path

import pytest

from local.dockerfile import Dockerfile


def placed(tmp_path: Path, *instructions: str) -> dict[str, str]:
    file = tmp_path / "Dockerfile"
    file.write_text("\n".join(["FROM debian AS build", *instructions, 'ENTRYPOINT ["app"]']))
    files = [Path(name) for name in ("Dockerfile", "app.py", "requirements.txt", "web/index.html", "web/img/a.png")]
    return {str(source): str(place) for source, place in Dockerfile.read(file).placed(files).items()}


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("COPY *.py /app/", {"app.py": "app.py"}),
        ("COPY app.py /app/main.py", {"app.py": "main.py"}),
        ("COPY app.py requirements.txt /app/etc", {"app.py": "etc/app.py", "requirements.txt": "etc/requirements.txt"}),
        (
            "COPY --chown=1:1 web /app/static",
            {"web/index.html": "static/index.html", "web/img/a.png": "static/img/a.png"},
        ),
        ('COPY ["web/*.html", "/app/"]', {"web/index.html": "index.html"}),
        ("copy /web/img/ ./img/", {"web/img/a.png": "img/a.png"}),
        ("COPY requirements.txt /tmp/", {}),
        ("COPY --from=build /app /app", {}),
    ],
)
def test_files_lie_where_they_are_copied_to(tmp_path: Path, copy: str, expected: dict[str, str]) -> None:
    assert placed(tmp_path, "WORKDIR /app", copy) == expected


def test_a_whole_context_is_copied_by_a_dot(tmp_path: Path) -> None:
    assert set(placed(tmp_path, "COPY . /srv/app", "WORKDIR /srv").values()) == {
        *("app/Dockerfile", "app/app.py", "app/requirements.txt", "app/web/index.html", "app/web/img/a.png")
    }


def test_what_an_earlier_stage_copies_lies_in_the_image(tmp_path: Path) -> None:
    stages = ("WORKDIR /app", "COPY app.py .", "FROM debian", "COPY --from=build /app /app", "WORKDIR /app")
    assert placed(tmp_path, *stages) == {"app.py": "app.py"}
