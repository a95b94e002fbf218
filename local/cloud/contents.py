"""What lies in the embedded AWS: the objects, messages and parameter values inside moto, read and put back as plain values.

The only module that knows moto's inside; it goes with the exact version that requirements.txt pins.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import Message, sqs_backends
from moto.ssm.models import Parameter, ssm_backends

from local.cloud.actions import Account
from local.cloud.policy import Access

_MESSAGE_FIELDS = (
    "sender_id",
    "sent_timestamp",
    "approximate_first_receive_timestamp",
    "approximate_receive_count",
    "deduplication_id",
    "group_id",
    "sequence_number",
    "delayed_until",
    "system_attributes",
    "message_attributes",
)
_OBJECT_FIELDS = ("_etag", "encryption", "kms_key_id", "checksum_algorithm", "checksum_value", "_storage_class")
_PARAMETER_FIELDS = ("parameter_type", "description", "allowed_pattern", "keyid", "version", "data_type", "tier")


@dataclass(frozen=True)
class Item:
    """`fields` is a JSON text, `content` the bytes of an object (empty for the others)."""

    fields: str
    content: bytes = b""


class Contents:
    """Reads and writes the embedded AWS of one account and region."""

    def __init__(self, account: Account, region: str) -> None:
        self._region = region
        self._s3 = s3_backends[account.account_id][account.partition]
        self._iam = iam_backends[account.account_id][account.partition]
        self._sqs = sqs_backends[account.account_id][region]
        self._ssm = ssm_backends[account.account_id][region]
        self._sns = sns_backends[account.account_id][region]
        self._dynamodb = dynamodb_backends[account.account_id][region]
        self._logs = logs_backends[account.account_id][region]
        self._account = account

    def inventory(self) -> dict[str, list[str]]:
        """The names of everything that exists, by kind; kinds without anything are left out."""
        found = {
            "buckets": sorted(self._s3.buckets),
            "queues": sorted(self._sqs.queues),
            "parameters": sorted(name for name, versions in self._ssm._parameters.items() if versions),
            "roles": sorted(role.name for role in self._iam.roles.values()),
            "policies": sorted(p.name for p in self._iam.managed_policies.values() if p.arn.split(":")[4] != "aws"),
            "topics": sorted(self._sns.topics),
            "tables": sorted(self._dynamodb.tables),
            "log groups": sorted(self._logs.groups),
        }
        return {kind: names for kind, names in found.items() if names}

    # Objects of a bucket

    def bucket_exists(self, bucket: str) -> bool:
        return bucket in self._s3.buckets

    def object_keys(self, bucket: str) -> Sequence[str]:
        return list(self._s3.buckets[bucket].keys) if self.bucket_exists(bucket) else []

    def read_object(self, bucket: str, key: str) -> Item | None:
        stored = self._s3.buckets[bucket].keys.get(key) if self.bucket_exists(bucket) else None
        if stored is None or not hasattr(stored, "value"):
            return None
        fields = {name: getattr(stored, name) for name in _OBJECT_FIELDS}
        fields["metadata"] = dict(stored.metadata)
        fields["last_modified"] = stored.last_modified.isoformat()
        return Item(_dump(fields), stored.value)

    def write_object(self, bucket: str, key: str, item: Item) -> None:
        fields = _load(item.fields)
        stored = self._s3.put_object(bucket, key, item.content, disable_notification=True)
        for name in _OBJECT_FIELDS:
            setattr(stored, name, fields[name])
        stored.set_metadata(fields["metadata"], replace=True)
        stored.last_modified = datetime.fromisoformat(fields["last_modified"])

    # Messages of a queue

    def queue_exists(self, queue: str) -> bool:
        return queue in self._sqs.queues

    def has_messages(self, queue: str) -> bool:
        return self.queue_exists(queue) and bool(self._sqs.queues[queue].messages)

    def default_wait(self, queue: str) -> float:
        if not self.queue_exists(queue):
            return 0
        return float(getattr(self._sqs.queues[queue], "receive_message_wait_time_seconds", 0) or 0)

    def queues_behind(self, queue: str) -> Sequence[str]:
        """The queue and its dead-letter queue, into which a receive may move messages."""
        if not self.queue_exists(queue):
            return [queue]
        dead_letters = self._sqs.queues[queue].dead_letter_queue
        return [queue, dead_letters.name] if dead_letters is not None else [queue]

    def message_ids(self, queue: str) -> Sequence[str]:
        return [message.id for message in self._sqs.queues[queue]._messages] if self.queue_exists(queue) else []

    def read_messages(self, queue: str, ids: set[str]) -> Mapping[str, Item]:
        return {
            message.id: Item(_dump({"body": message.body} | {name: getattr(message, name) for name in _MESSAGE_FIELDS}))
            for message in (self._sqs.queues[queue]._messages if self.queue_exists(queue) else [])
            if message.id in ids
        }

    def write_message(self, queue: str, message_id: str, item: Item) -> None:
        fields = _load(item.fields)
        message = Message(message_id, fields["body"])
        for name in _MESSAGE_FIELDS:
            setattr(message, name, fields[name])
        self._sqs.queues[queue]._messages.append(message)

    # Values of parameters

    def parameter_exists(self, name: str) -> bool:
        return bool(self._ssm._parameters.get(name))

    def read_parameter(self, name: str) -> Item | None:
        """The last two versions: whoever starts within a rotation asks for the one before."""
        versions = self._ssm._parameters.get(name)
        if not versions:
            return None
        return Item(
            _dump(
                {
                    "versions": [
                        {
                            "value": version.decrypt(version.value),
                            "last_modified_date": version.last_modified_date.isoformat(),
                        }
                        | {field: getattr(version, field) for field in _PARAMETER_FIELDS}
                        for version in versions[-2:]
                    ]
                }
            )
        )

    def write_parameter(self, name: str, item: Item) -> None:
        self._ssm._parameters[name] = [
            Parameter(  # type: ignore[abstract]
                self._account.account_id,
                name,
                **(version | {"last_modified_date": datetime.fromisoformat(version["last_modified_date"])}),
            )
            for version in _load(item.fields)["versions"]
        ]

    # Policies

    def of_role(self, role: str) -> Sequence[Mapping[str, Any]] | None:
        """The policy documents of a role, inline and attached; None when there is no such role."""
        try:
            found = self._iam.get_role(role)
        except Exception:
            return None
        documents = [json.loads(text) for text in found.policies.values()]
        for policy in found.managed_policies.values():
            documents += [json.loads(version.document) for version in policy.versions if version.is_default]
        return documents

    def identity_of_role(self, role: str) -> str | None:
        """A role's unique id; None when there is no such role."""
        try:
            return str(self._iam.get_role(role).id)
        except Exception:
            return None

    def of_resource(self, access: Access) -> Sequence[Mapping[str, Any]]:
        """The bucket policy behind an S3 access."""
        name = access.resource.rpartition(":")[2].partition("/")[0]
        if not access.action.startswith("s3:") or not self.bucket_exists(name):
            return []
        policy = self._s3.buckets[name].policy
        return [json.loads(policy)] if policy else []


def neutralize_bucket_policies() -> None:
    """Leaves bucket policies to the gate: moto takes every unmet condition for a denial, the TLS-only rule first of all."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    def neutral(self: Any, action: str, resource: str) -> Any:
        return PermissionResult.NEUTRAL

    FakeBucket.get_permission = neutral  # type: ignore[method-assign]


def _dump(fields: Mapping[str, Any]) -> str:
    def encode(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"base64": base64.b64encode(value).decode()}
        raise TypeError(type(value).__name__)

    return json.dumps(fields, default=encode)


def _load(text: str) -> dict[str, Any]:
    def decode(value: dict[str, Any]) -> Any:
        return base64.b64decode(value["base64"]) if list(value) == ["base64"] else value

    loaded: dict[str, Any] = json.loads(text, object_hook=decode)
    return loaded
