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

from local.cloud.principals import ACCOUNT_ID
from local.providers.aws.regions import Zone, zones_of
from local.providers.kind import Properties
from local.providers.values import UNKNOWN, is_known

DEFAULT_REGION = "us-east-1"
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eusc-": "aws-eusc",
}


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

    def planned(self, inputs: Properties) -> Properties:
        """The outputs of every type that the provider computes from the inputs alone: `region`, `tagsAll`.

        hashicorp/terraform-provider-aws, internal/provider/sdkv2/region.go and tags_interceptor.go (CustomizeDiff).
        """
        tags = inputs.get("tags") or {}
        all_tags = dict(self.default_tags) | dict(tags) if is_known(tags) else UNKNOWN
        return {"region": inputs.get("region") or self.region, "tagsAll": all_tags}

    @property
    def dns_suffix(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def zones(self) -> list[Zone]:
        return zones_of(self.region)


def place_in(region: str | None, default_tags: Mapping[str, str] | None = None) -> Place:
    """In this region, else in the environment's, as the real provider does."""
    name = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    return Place(name, _partition(name), default_tags=default_tags or {})


def place_from(settings: Mapping[str, Any]) -> Place:
    """From the provider's configuration."""
    default_tags = settings.get("defaultTags") or {}
    if isinstance(default_tags, str):
        default_tags = json.loads(default_tags)
    return place_in(settings.get("region"), dict(default_tags.get("tags") or {}))


def _partition(region: str) -> str:
    # https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    return next((partition for prefix, partition in _PARTITIONS.items() if region.startswith(prefix)), "aws")


def stable_hex(*parts: str, length: int = 17) -> str:
    """The same digits for the same parts, so that look-ups answer alike in every run."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def fresh_hex(length: int = 17) -> str:
    return secrets.token_hex((length + 1) // 2)[:length]


def fresh_uuid() -> str:
    return str(uuid.uuid4())
