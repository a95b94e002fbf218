"""How a program ends after a mistake of its user: with the mistake's message, and no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

import pulumi

_LANGUAGE_HOST = "pulumi-language-python-exec"
_TOLD = 32
"""The exit code of a program whose user has been told what is wrong, as the language host knows it:
sdk/python/cmd/pulumi-language-python/main.go of pulumi/pulumi, pythonProcessExitedAfterShowingUserActionableMessage."""


@contextmanager
def mistakes_told_once() -> Iterator[None]:
    """Ends the program when the block raises a RunError, as ConfigurationError and ArgumentError are.

    Pulumi's language host ends a RunError with the exit code of a crash, so that the CLI adds "an unhandled error
    occurred: program exited with non-zero exit code: 1" to its message. Under any other host, as under the automation
    API's inline programs, the error goes on as it is.
    """
    try:
        yield
    except pulumi.RunError as error:
        if _LANGUAGE_HOST not in (PurePath(argument).name for argument in sys.orig_argv):
            raise
        pulumi.log.error(str(error))
        sys.exit(_TOLD)
