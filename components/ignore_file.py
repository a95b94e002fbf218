"""A build context's `.dockerignore`: which of its files Docker leaves out."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

NAMES = ("Dockerfile.dockerignore", ".dockerignore")
"""In the order in which they are looked for; the first one that is there is the only one."""

# A class of characters, such as [a-z] or [^0-9], is written the same in a regular expression.
_CHARACTERS = re.compile(r"\[\^?[^]/]+\]")


class IgnoreFile:
    """The patterns of an ignore file: the last one that hits a path, or has hit a folder above it, decides.

    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """

    def __init__(self, text: str = "") -> None:
        lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
        patterns = [line for line in lines if line]
        self._has_exceptions = any(pattern.startswith("!") for pattern in patterns)
        self._rules = [(not pattern.startswith("!"), _expression(pattern.removeprefix("!"))) for pattern in patterns]

    @classmethod
    def of(cls, context: Path) -> IgnoreFile:
        """The one of a context; without one, nothing is ignored."""
        found = next((path for name in NAMES if (path := context / name).is_file()), None)
        return cls(found.read_text(encoding="utf-8-sig")) if found else cls()

    def ignores(self, path: Path) -> bool:
        """Whether a path, relative to the context, is left out."""
        ignored, hit_above = False, [False] * len(self._rules)
        for depth in range(1, len(path.parts) + 1):
            ignored, hit_above = self._level(PurePosixPath(*path.parts[:depth]).as_posix(), hit_above)
        return ignored

    def _level(self, path: str, hit_above: list[bool]) -> tuple[bool, list[bool]]:
        """Whether a path is left out, and which rules hit it, given those that have hit the folder that it is in."""
        ignored, hits = False, []
        for (excludes, expression), above in zip(self._rules, hit_above, strict=True):
            # As Docker does, a rule that would change nothing is not looked at; so `!folder` brings nothing of a folder
            # back that was not left out as a whole. https://github.com/moby/patternmatcher, MatchesUsingParentResults
            hit = above or (excludes != ignored and expression.fullmatch(path) is not None)
            hits.append(hit)
            if hit:
                ignored = excludes
        return ignored, hits

    def ignores_all_in(self, folder: Path) -> bool:
        """Whether nothing below a folder, relative to the context, is sent: no exception (`!`) can bring it back."""
        return not self._has_exceptions and self.ignores(folder)


def _expression(pattern: str) -> re.Pattern[str]:
    clean = re.sub(r"/+", "/", pattern.strip()).strip("/")
    clean = clean.removeprefix("./")
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(rf"(\*\*/|\*\*|\*|\?|{_CHARACTERS.pattern})", clean)
    return re.compile(
        "".join(parts.get(token) or (token if _CHARACTERS.fullmatch(token) else re.escape(token)) for token in tokens)
    )
