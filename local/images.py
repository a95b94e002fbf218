"""Images on one machine: a build is a copy of what the image would hold, kept by its digest, run from there.

So a deployed digest keeps meaning the files that it was built from, however the checkout changes afterwards. What lies in
the image and how it runs is taken from the Dockerfile, see `local.dockerfile`.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.build_context import context_paths, digest_of
from local.context_digest import provider_context_digest
from local.dockerfile import Dockerfile
from local.paths import PROJECT_ROOT
from local.runner.ports import LocalImage

_REFERENCE = re.compile(r".*@sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Images:
    """The images of one checkout; `folder` holds one folder a digest."""

    folder: Path

    def build(self, context: Path, dockerfile: Path, arguments: str = "") -> str:
        """Copies the context, once a digest, and returns the digest (64 hex digits).

        It follows from all that an image's layers consist of, the modes of its files among them. Raises ValueError for a
        Dockerfile whose entry point can't be told.
        """
        digest = digest_of(provider_context_digest(context, dockerfile, PROJECT_ROOT), arguments)
        target = self.folder / digest
        if target.exists():
            return digest
        described = Dockerfile.read(dockerfile)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
        for file, place in described.placed(path.relative_to(context) for path in context_paths(context)).items():
            copy = partial / place
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(context / file, copy, follow_symlinks=False)
        # As the Dockerfile does: tasks run without writing byte code, and would compile everything at each start.
        compileall.compile_dir(partial, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        (partial / "image.json").write_text(
            json.dumps({"entrypoint": described.entrypoint, "environment": described.environment})
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
