"""Errors that a user of the components can act on: what is wrong, what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One wrong value.

    `name` is the configuration key or the argument, `value` what was given in the form shown to the user (never a
    secret's value), `allowed` what would have been right, `remedy` what to do about it.
    """

    name: str
    value: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value}\n    allowed: {self.allowed}\n    remedy: {self.remedy}"


class ArgumentError(pulumi.RunError):
    """A component was given an argument that cannot work.

    It is raised by the component's constructor, before the component registers any resource; where only a look-up in
    the account can tell, the component itself is registered by then, and none of its children. Pulumi prints a RunError
    as one message, without a traceback.
    """

    def __init__(self, component: str, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join([f"{component}:", *(f"  {mistake}" for mistake in mistakes)]))


def raise_mistakes(component: str, mistakes: Iterable[Mistake]) -> None:
    """Raises ArgumentError with the mistakes, if there are any."""
    found = tuple(mistakes)
    if found:
        raise ArgumentError(component, *found)


def spelled(words: Sequence[str]) -> str:
    """The words as a choice: `none, single or per-az`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt name: its nearest known spelling, or the whole list."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"use one of: {', '.join(names) or '(none)'}"
