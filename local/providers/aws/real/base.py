"""What every real resource type has: clients of the embedded AWS, and the life of a resource in it."""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud.principals import OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY
from local.providers.aws.place import Place
from local.providers.standin import AutoName, Created, Properties

CLOUD_ENDPOINT_VARIABLE = "LOCAL_CLOUD_ENDPOINT"
_MISSING = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "ParameterNotFound",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}


class Clients:
    """boto3 clients of the embedded AWS, signed by its operator; its endpoint comes from the environment if not given."""

    def __init__(self, place: Place, endpoint: str | None = None) -> None:
        self._place = place
        self._endpoint = endpoint
        self._clients: dict[str, Any] = {}
        # Sessions are not safe to make clients in from several threads at once; the clients are safe to use.
        self._lock = threading.Lock()

    def __getitem__(self, service: str) -> Any:
        endpoint = self._endpoint or os.environ.get(CLOUD_ENDPOINT_VARIABLE)
        if not endpoint:
            raise ValueError(
                f"no embedded AWS to create this in ({CLOUD_ENDPOINT_VARIABLE} is not set): this provider deploys the local "
                "stack only, by `make up`; every other stack it can preview"
            )
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"})
                )
            return self._clients[service]

    @cached_property
    def _session(self) -> Any:
        # Previews do without: importing boto3 is a third of this plugin's start.
        import boto3

        return boto3.session.Session(OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY, region_name=self._place.region)


class Real:
    """A `ResourceKind` in the embedded AWS."""

    auto_name: AutoName | None = None
    replaces: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    # Whether a new resource may not have the name of one that exists.
    exclusive = False

    def __init__(self, place: Place, clients: Clients) -> None:
        self.place = place
        self.clients = clients

    @cached_property
    def computed(self) -> frozenset[str]:
        return self.outputs | {"tagsAll", "region"}

    @abstractmethod
    def put(self, inputs: Properties) -> Created:
        """Makes it so, and returns the id and what is computed."""

    @abstractmethod
    def remove(self, resource_id: str, state: Properties) -> None:
        """Deletes it; may raise ClientError when it isn't there."""

    @abstractmethod
    def look(self, resource_id: str, state: Properties) -> object:
        """Reads it; raises ClientError when it isn't there, returns None for the same."""

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

    def undo(self, inputs: Properties) -> None:
        """Deletes what an interrupted `put` may have made, whatever protects it otherwise."""
        self.delete(self.identify(inputs), inputs | {"forceDestroy": True, "skipDestroy": False})

    def identify(self, inputs: Properties) -> str:
        """The id that `put` would return: it follows from the inputs."""
        raise NotImplementedError

    def _with_tags(self, created: Created, inputs: Properties) -> Created:
        tags = dict(self.place.default_tags) | dict(inputs.get("tags") or {})
        return Created(created.id, {"region": self.place.region, "tagsAll": tags} | created.computed)


def _ignoring_missing(call: Callable[[], object]) -> object:
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"].rpartition("#")[2] in _MISSING:
            return None
        raise
