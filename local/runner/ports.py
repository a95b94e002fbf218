"""What the runner asks of the rest of the local stack: an AWS to talk to, and images to start tasks from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials of one role. `expiration` is an aware time."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime


@dataclass(frozen=True)
class LocalImage:
    """An image as a folder: `path` is the working directory and the import path of what runs from it."""

    path: Path
    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]


class Cloud(Protocol):
    """The AWS that the tasks talk to."""

    @property
    def endpoint_url(self) -> str: ...

    @property
    def region(self) -> str: ...

    async def credentials(self, role_arn: str) -> Credentials:
        """Fresh credentials of the role; any exception means that the role cannot be assumed."""
        ...

    async def parameter(self, arn_or_name: str, credentials: Credentials) -> str:
        """The value of an SSM parameter as `credentials` may read it.

        Raises PermissionError when they may not, LookupError when there is none.
        """
        ...


class ImageStore(Protocol):
    """The images that were built on this machine."""

    def find(self, reference: str) -> LocalImage:
        """The image of `repository@sha256:…`; raises LookupError when it was never built here."""
        ...


class RunnerError(Exception):
    """The runner cannot start or cannot play what was deployed; the message says what to do."""
