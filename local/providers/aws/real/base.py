"""What every real resource type has: clients of the embedded AWS, and the life of a resource in it."""

from __future__ import annotations

import json
import os
import threading
from abc import abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud.principals import OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY
from local.providers.aws.place import Place
from local.providers.kind import Created, Properties, ResourceKind

CLOUD_ENDPOINT_VARIABLE = "LOCAL_CLOUD_ENDPOINT"
# Sessions are not safe to make clients in from several threads at once; the clients are safe to use.
_LOCK = threading.Lock()
_MISSING = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchEntity",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NotFound",
    "NotFoundException",
    "OwnershipControlsNotFoundError",
    "ParameterNotFound",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "ServerSideEncryptionConfigurationNotFoundError",
}


class Clients:
    """boto3 clients of the embedded AWS, signed by its operator; its endpoint comes from the environment if not given."""

    def __init__(self, place: Place, endpoint: str | None = None) -> None:
        self._place = place
        self._endpoint = endpoint
        self._clients: dict[str, Any] = {}

    @property
    def endpoint(self) -> str | None:
        """The embedded AWS's address; None in a preview, which needs none."""
        return self._endpoint or os.environ.get(CLOUD_ENDPOINT_VARIABLE) or None

    def __getitem__(self, service: str) -> Any:
        endpoint = self.endpoint
        if endpoint is None:
            raise ValueError(
                f"no embedded AWS to create this in ({CLOUD_ENDPOINT_VARIABLE} is not set): this provider deploys the local "
                "stack only, by `make up`; every other stack it can preview"
            )
        with _LOCK:
            if service not in self._clients:
                self._clients[service] = _session(self._place.region).client(
                    service, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"})
                )
            return self._clients[service]


@cache
def _session(region: str) -> Any:
    # Previews do without boto3, and the rest with one session: each reads the models of its services anew.
    import boto3

    return boto3.session.Session(OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY, region_name=region)


class Real(ResourceKind):
    """A `ResourceKind` in the embedded AWS."""

    outputs: frozenset[str] = frozenset()
    # Whether a new resource may not have the name of one that exists.
    exclusive = False

    def __init__(self, place: Place, clients: Clients) -> None:
        self.place = place
        self.clients = clients
        self.computed = self.outputs | {"tagsAll", "region"}

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        return self.place.planned(inputs)

    @abstractmethod
    def put(self, inputs: Properties) -> Created:
        """Makes it so, and returns the id and what is computed."""

    @abstractmethod
    def remove(self, resource_id: str, state: Properties) -> None:
        """Deletes it; may raise ClientError when it isn't there."""

    @abstractmethod
    def look(self, resource_id: str, state: Properties) -> object:
        """Reads it; raises ClientError when it isn't there, returns None for the same."""

    def found(self, answer: Any, state: Properties) -> Properties:
        """What of the state `answer`, which `look` has returned, says; the rest stays as it is."""
        return {}

    def create(self, name: str, inputs: Properties) -> Created:
        if self.exclusive:
            candidate = self.identify(inputs)
            if self.exists(candidate, inputs):
                raise ValueError(f"{candidate!r} exists already: choose another name")
        return self._with_tags(self.put(inputs), inputs)

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        return self._with_tags(self.put(inputs), inputs).computed

    def delete(self, resource_id: str, state: Properties) -> None:
        _ignoring_missing(lambda: self.remove(resource_id, state))

    def exists(self, resource_id: str, state: Properties) -> bool:
        return _ignoring_missing(lambda: self.look(resource_id, state)) is not None

    def read(self, resource_id: str, state: Properties) -> Properties | None:
        if self.clients.endpoint is None:
            # A preview of a stack that is deployed: without the embedded AWS the state is all that is known.
            return state
        answer = _ignoring_missing(lambda: self.look(resource_id, state))
        return None if answer is None else state | self.found(answer, state)

    def undo(self, inputs: Properties) -> None:
        """Deletes what an interrupted `put` may have made, whatever protects it otherwise."""
        self.delete(self.identify(inputs), inputs | {"forceDestroy": True, "skipDestroy": False})

    def identify(self, inputs: Properties) -> str:
        """The id that `put` would return: it follows from the inputs."""
        raise NotImplementedError

    def _with_tags(self, created: Created, inputs: Properties) -> Created:
        return Created(created.id, self.place.planned(inputs) | created.computed)


def same_document(old: Any, new: str) -> Any:
    """The JSON document `new`, in the old one's words when it says the same: the provider keeps those too.

    hashicorp/terraform-provider-aws, internal/verify/json.go, PolicyToSet.
    """
    try:
        return old if isinstance(old, str) and json.loads(old) == json.loads(new) else new
    except ValueError:
        return new


def _ignoring_missing(call: Callable[[], object]) -> object:
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"].rpartition("#")[2] in _MISSING:
            return None
        raise
