"""What a person sees of the engine's output: what has changed and what went wrong, once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

# "creating (0s)" is followed by "created (0.1s)": the second says it all.
_BEGINNING = re.compile(r" (creating|updating|deleting|replacing)( replacement| original)? \(\d")
_FINISHED = re.compile(
    r" (created|updated|deleted|replaced|create|update|delete|replace)( replacement| original)?( \(|$| \[)"
)
# The inline host reports an error of the program twice, the second time with this in front.
_AGAIN = "error: an unhandled error occurred: "


@dataclass
class Transcript:
    """Passes lines on to `write`; of finished resources at most `most`, then their number."""

    write: Callable[[str], None]
    most: int | None = None
    _finished: int = 0
    _repeating: bool = field(default=False)
    _blank: bool = field(default=True)

    def line(self, text: str) -> None:
        for part in text.splitlines() or [""]:
            self._one(part.rstrip())

    def _one(self, line: str) -> None:
        if _AGAIN in line:
            # Its details follow, indented deeper than other messages, up to the end of the section.
            self._repeating = line.lstrip().startswith("error:")
            return
        if self._repeating:
            self._repeating = bool(line.strip())
            if self._repeating:
                return
        if _BEGINNING.search(line):
            return
        if _FINISHED.search(line):
            self._finished += 1
            if self.most is not None and self._finished > self.most:
                return
        elif self.most is not None and self._finished > self.most:
            self._pass(f"    … and {self._finished - self.most} more")
            self._finished = 0
        self._pass(line)

    def _pass(self, line: str) -> None:
        if line or not self._blank:
            self.write(line)
        self._blank = not line
