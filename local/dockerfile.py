"""What a Dockerfile says about an image that is kept as a folder: what lies in it and how it runs.

Nothing is executed. What any stage copies from the context lies in the image where that stage put it, as if the last
stage had copied it on from there; how the image runs is what its last stage says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class _Copy:
    sources: tuple[PurePosixPath, ...]
    target: PurePosixPath
    into_folder: bool

    def place(self, file: PurePosixPath) -> PurePosixPath | None:
        """Where the file of the context lies in the image, if this instruction copies it."""
        for source in self.sources:
            depth = len(source.parts)
            head = file.parts[:depth]
            if len(head) < depth or not all(map(fnmatchcase, head, source.parts)):
                continue
            if depth < len(file.parts):
                # A folder: its content is copied, not the folder itself.
                return self.target.joinpath(*file.parts[depth:])
            return self.target / file.name if self.into_folder else self.target
        return None


@dataclass
class Dockerfile:
    """`working_folder` is absolute."""

    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    working_folder: PurePosixPath = field(default_factory=lambda: PurePosixPath("/"))
    _copies: list[_Copy] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        """Raises ValueError for a last stage without an entry point that can be told."""
        image = cls()
        for instruction, rest in _instructions(path.read_text()):
            match instruction:
                case "FROM":
                    image = cls(_copies=image._copies)
                case "ENTRYPOINT":
                    image.entrypoint = _exec_form(path, rest)
                case "ENV":
                    image.environment.update(_environment(rest))
                case "WORKDIR":
                    image.working_folder /= rest
                case "COPY" | "ADD":
                    image._copy(rest)
        if not image.entrypoint:
            raise ValueError(
                f'{path}: its last stage needs an ENTRYPOINT in exec form, such as ["python", "-m", "service"]'
            )
        return image

    def placed(self, files: Iterable[Path]) -> Mapping[Path, Path]:
        """Which files of the context lie in the working folder, each with its place there."""
        found = {}
        for file in files:
            for copy in self._copies:
                place = copy.place(PurePosixPath(file.as_posix()))
                if place is not None and place.is_relative_to(self.working_folder):
                    found[file] = Path(place.relative_to(self.working_folder))
        return found

    def _copy(self, rest: str) -> None:
        words = json.loads(rest) if rest.startswith("[") else rest.split()
        *sources, target = [word for word in words if not word.startswith("--")]
        if any(word.startswith("--from=") for word in words):
            return
        into_folder = target.endswith("/") or target in (".", "..") or len(sources) > 1
        paths = tuple(PurePosixPath(source.strip("/") or ".") for source in sources)
        self._copies.append(_Copy(paths, self.working_folder / target, into_folder))


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    joined = re.sub(r"\\\s*\n", " ", re.sub(r"(?m)^\s*#.*\n?", "", text))
    for line in joined.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction:
            yield instruction.upper(), rest.strip()


def _exec_form(dockerfile: Path, rest: str) -> tuple[str, ...]:
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{dockerfile}: ENTRYPOINT {rest}: write it in exec form, a shell would not pass SIGTERM on")
    return tuple(words)


def _environment(rest: str) -> dict[str, str]:
    pairs = re.findall(r"""(\w+)=("[^"]*"|'[^']*'|\S+)""", rest)
    # PATH and the like name folders of the image, which isn't one here.
    return {
        name: value.strip("\"'") for name, value in pairs if not name.startswith(("PATH", "PYTHONPATH", "VIRTUAL_ENV"))
    }
