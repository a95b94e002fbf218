"""Order among concurrent SQS calls, and long polls that don't hold anything up.

moto's queues are plain lists: a delete that rebuilds the list loses a message that another thread sends meanwhile, and two
receives can hand out the same message. So SQS calls run one at a time, and the waiting of a long poll happens out here.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from local.cloud.request import CloudRequest

Answer = TypeVar("Answer")

_LONGEST_NAP_SECONDS = 0.2


class Queues:
    """`has_messages` and `default_wait` look at one queue by its name; an unknown queue has none and waits 0 s."""

    def __init__(self, has_messages: Callable[[str], bool], default_wait: Callable[[str], float]) -> None:
        self._has_messages = has_messages
        self._default_wait = default_wait
        self._turn = threading.Condition()

    def call(
        self, request: CloudRequest, run: Callable[[CloudRequest], Answer], still_there: Callable[[], bool]
    ) -> Answer | None:
        """Runs one SQS request when it is its turn; a long poll waits first, without holding the turn.

        None for a long poll whose client has gone: what it would have received stays for somebody else.
        """
        name = queue_name(request)
        if (request.target or request.form.get("Action")) == "ReceiveMessage":
            wait = _parameter(request, "WaitTimeSeconds")
            deadline = time.monotonic() + (float(wait) if wait is not None else self._default_wait(name))
            request = without_wait(request)
            with self._turn:
                while not self._has_messages(name) and (left := deadline - time.monotonic()) > 0:
                    # A nap at most: a message also comes back by its visibility timeout, of which nobody tells.
                    self._turn.wait(min(left, _LONGEST_NAP_SECONDS))
                return run(request) if still_there() else None
        with self._turn:
            try:
                return run(request)
            finally:
                self._turn.notify_all()


def queue_name(request: CloudRequest) -> str:
    """The name of the queue that a request is about; empty when it names none."""
    return str(
        _parameter(request, "QueueName") or str(_parameter(request, "QueueUrl") or "").rstrip("/").rpartition("/")[2]
    )


def without_wait(request: CloudRequest) -> CloudRequest:
    """The same receive, answering at once."""
    if request.target:
        body = json.dumps(request.json | {"WaitTimeSeconds": 0}).encode()
    else:
        body = urlencode(request.form | {"WaitTimeSeconds": "0"}).encode()
    return dataclasses.replace(request, body=body)


def _parameter(request: CloudRequest, name: str) -> Any:
    return request.json.get(name) if request.target else request.form.get(name)
