"""Images on one machine: a build is a copy of its context, kept by its digest, run from there.

So a deployed digest keeps meaning the files that it was built from, however the checkout changes afterwards. What the
Dockerfile says about how the image runs (`ENTRYPOINT`, `ENV` of its last stage) is taken from it.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.build_context import context_digest, context_files
from local.runner.ports import LocalImage

_REFERENCE = re.compile(r".*@sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Images:
    """The images of one checkout; `folder` holds one folder a digest."""

    folder: Path

    def digest(self, context: Path, dockerfile: Path, arguments: str = "") -> str:
        """The digest (64 hex digits) that a build would have now."""
        return context_digest(context, dockerfile.name, arguments)

    def build(self, context: Path, dockerfile: Path, arguments: str = "") -> str:
        """Copies the context, once a digest, and returns the digest.

        Raises ValueError for a Dockerfile whose entry point can't be told.
        """
        digest = self.digest(context, dockerfile, arguments)
        target = self.folder / digest
        if target.exists():
            return digest
        stage = _last_stage(dockerfile)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
        for file in context_files(context):
            copy = partial / context.resolve().name / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(context / file, copy)
        # As the Dockerfile does: tasks run without writing byte code, and would compile everything at each start.
        compileall.compile_dir(partial, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        (partial / "image.json").write_text(
            json.dumps({"entrypoint": stage.entrypoint, "environment": stage.environment})
        )
        try:
            partial.rename(target)
        except OSError:
            # Somebody else has just built the same.
            shutil.rmtree(partial)
        return digest

    def find(self, reference: str) -> LocalImage:
        """The image of `repository@sha256:…`; raises LookupError when it was never built here."""
        match = _REFERENCE.fullmatch(reference)
        folder = self.folder / match.group(1) if match else None
        if folder is None or not folder.is_dir():
            raise LookupError(f"the image {reference} was not built on this machine: deploy again to build it")
        facts = json.loads((folder / "image.json").read_text())
        return LocalImage(folder, tuple(facts["entrypoint"]), facts["environment"])


@dataclass(frozen=True)
class _Stage:
    entrypoint: list[str]
    environment: dict[str, str]


def _last_stage(dockerfile: Path) -> _Stage:
    stage = _Stage([], {})
    for instruction, rest in _instructions(dockerfile.read_text()):
        match instruction:
            case "FROM":
                stage = _Stage([], {})
            case "ENTRYPOINT":
                stage = _Stage(_exec_form(dockerfile, rest), stage.environment)
            case "ENV":
                stage.environment.update(_environment(rest))
    if not stage.entrypoint:
        raise ValueError(
            f'{dockerfile}: its last stage needs an ENTRYPOINT in exec form, such as ["python", "-m", "service"]'
        )
    return stage


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    joined = re.sub(r"\\\s*\n", " ", re.sub(r"(?m)^\s*#.*\n?", "", text))
    for line in joined.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction:
            yield instruction.upper(), rest.strip()


def _exec_form(dockerfile: Path, rest: str) -> list[str]:
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{dockerfile}: ENTRYPOINT {rest}: write it in exec form, a shell would not pass SIGTERM on")
    return words


def _environment(rest: str) -> dict[str, str]:
    pairs = re.findall(r"""(\w+)=("[^"]*"|'[^']*'|\S+)""", rest)
    # PATH and the like name folders of the image, which isn't one here.
    return {
        name: value.strip("\"'") for name, value in pairs if not name.startswith(("PATH", "PYTHONPATH", "VIRTUAL_ENV"))
    }
