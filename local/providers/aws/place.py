"""Where the stand-in's resources are: one account, one region, one partition."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session

DEFAULT_REGION = "us-east-1"
# The account of the embedded AWS; it says itself that it is none of anybody's.
ACCOUNT_ID = "123456789012"


@dataclass(frozen=True)
class Place:
    region: str
    partition: str
    account: str = ACCOUNT_ID
    default_tags: Mapping[str, str] = field(default_factory=dict)

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """`region` is for the global services, whose ARNs have none (`""`)."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{where}:{self.account}:{resource}"

    @property
    def dns_suffix(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def zones(self) -> list[str]:
        return [f"{self.region}{letter}" for letter in "abc"]


def place_from(settings: Mapping[str, Any]) -> Place:
    """From the provider's configuration, else from the environment, as the real provider does."""
    region = (
        settings.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    )
    partition = botocore.session.Session().get_partition_for_region(region)
    default_tags = settings.get("defaultTags") or {}
    if isinstance(default_tags, str):
        default_tags = json.loads(default_tags)
    return Place(str(region), str(partition), default_tags=dict(default_tags.get("tags") or {}))


def stable_hex(*parts: str, length: int = 17) -> str:
    """The same digits for the same parts, so that look-ups answer alike in every run."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def fresh_hex(length: int = 17) -> str:
    return secrets.token_hex((length + 1) // 2)[:length]


def fresh_uuid() -> str:
    return str(uuid.uuid4())
