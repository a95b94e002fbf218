"""The note of what a preview has passed through: resources of types that no stand-in knows."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "LOCAL_PASSED_THROUGH"


@dataclass(frozen=True)
class PassedThrough:
    """A file with a URN a line, which several provider processes write to while a preview runs, and nobody else."""

    file: Path

    @classmethod
    def from_environment(cls) -> PassedThrough | None:
        """The note of the preview that the engine is running; None when it isn't a preview."""
        # The engine's protocol tells a provider's Check of no preview: whoever starts the engine does.
        file = os.environ.get(VARIABLE)
        return cls(Path(file)) if file else None

    def note(self, urn: str) -> None:
        with self.file.open("a") as handle:
            handle.write(f"{urn}\n")

    def take(self) -> str | None:
        """What a person is told of it, and the note is gone; None when nothing was passed through."""
        try:
            urns = set(self.file.read_text().splitlines())
        except FileNotFoundError:
            return None
        self.file.unlink()
        counts = sorted(Counter(urn.split("::")[-2].rpartition("$")[2] for urn in urns).items())
        listed = "".join(f"\n    {count:>3} {token}" for token, count in counts)
        return (
            "note: the stand-in providers do not know these resource types, and passed them through: only the names of "
            "their properties\nare checked, and of some packages not even those. What they compute stays unknown in this "
            f"plan, and `make up` refuses them:{listed}"
        )
