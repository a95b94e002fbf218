"""The ECS agent's endpoint for a task: protection from scale-in.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html

A scale-in stops unprotected tasks first. It stops protected ones too when there are no others, and a rolling deployment
does not wait for them: ECS would wait until protection ends, but here a person waits for the command, and a worker drains
whenever it is stopped.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.cloud.policy import Access, Decision, evaluate
from local.runner.web import Receive, Scope, Send, TaskEndpoint

_STATE = "/task-protection/v1/state"
_DEFAULT_MINUTES = 120
_MAXIMUM_MINUTES = 2880
_LONGEST_BODY = 10_000


@dataclass
class Registration:
    """One task as its agent knows it. `arn` is empty for a task that no service started."""

    path: str
    url: str
    arn: str
    role: str
    clock: Callable[[], float] = field(default=time.time, repr=False)
    protected_until: float = 0.0

    @property
    def protected(self) -> bool:
        return self.clock() < self.protected_until

    @property
    def environment(self) -> Mapping[str, str]:
        return {"ECS_AGENT_URI": self.url}


class AgentEndpoint(TaskEndpoint):
    """Serves the agent's endpoint on a free port of 127.0.0.1, at a path that one task alone knows.

    `policies` holds the policy documents of the deployed roles by the role's name: the agent asks ECS with the task's own
    role, which must be allowed to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.policies: Mapping[str, Sequence[Mapping[str, Any]]] = {}
        self._registrations: dict[str, Registration] = {}

    def register(self, arn: str, role_arn: str | None) -> Registration:
        """The endpoint of a new task; `forget` ends it."""
        path = f"/api/{secrets.token_urlsafe(24)}"
        role = (role_arn or "").rpartition("/")[2]
        registration = Registration(path, self._url(path), arn, role)
        self._registrations[path] = registration
        return registration

    def forget(self, registration: Registration) -> None:
        self._registrations.pop(registration.path, None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"])
        task = self._registrations.get(path.removesuffix(_STATE))
        if task is None or not path.endswith(_STATE) or scope["method"] not in ("GET", "PUT"):
            await _send_json(send, 404, {"code": "NotFound", "message": "no task has this path"})
            return
        operation = "GetTaskProtection" if scope["method"] == "GET" else "UpdateTaskProtection"
        wanted = await _wanted(receive) if scope["method"] == "PUT" else None
        if isinstance(wanted, str):
            await _send_error(send, task, "InvalidParameterException", wanted)
        elif not task.arn:
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
            await _send_json(send, 200, {"failure": {"Arn": "", "Detail": None, "Reason": "TASK_NOT_VALID"}})
        elif not self._may(task, f"ecs:{operation}"):
            message = f"{task.role} is not authorized to perform: ecs:{operation} on resource: {task.arn}"
            await _send_error(send, task, "AccessDeniedException", message)
        else:
            if wanted is not None:
                task.protected_until = task.clock() + wanted * 60
            await _send_json(send, 200, {"protection": _state(task)})

    def _may(self, task: Registration, action: str) -> bool:
        documents = self.policies.get(task.role, ())
        return evaluate(documents, Access(action, task.arn), {}) is Decision.ALLOWED


async def _wanted(receive: Receive) -> float | str:
    """The minutes of protection that a PUT asks for, 0 for its end, or what is wrong with it."""
    body, more = b"", True
    while more and len(body) <= _LONGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        content = json.loads(body)
    except ValueError as error:
        return f"failed to decode request: {error}"
    if not isinstance(content, dict) or not content.keys() <= {"ProtectionEnabled", "ExpiresInMinutes"}:
        return "failed to decode request: allowed are ProtectionEnabled and ExpiresInMinutes"
    enabled, minutes = content.get("ProtectionEnabled"), content.get("ExpiresInMinutes", _DEFAULT_MINUTES)
    if not isinstance(enabled, bool):
        return f"ProtectionEnabled is {enabled!r}; allowed: true or false"
    if type(minutes) is not int or not 1 <= minutes <= _MAXIMUM_MINUTES:
        return f"ExpiresInMinutes is {minutes!r}; allowed: 1 to {_MAXIMUM_MINUTES}"
    return minutes if enabled else 0


def _state(task: Registration) -> Mapping[str, Any]:
    until = datetime.fromtimestamp(task.protected_until, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "ProtectionEnabled": task.protected,
        "ExpirationDate": until if task.protected else None,
        "TaskArn": task.arn,
    }


async def _send_error(send: Send, task: Registration, code: str, message: str) -> None:
    error = {"Arn": task.arn, "Code": code, "Message": message}
    await _send_json(send, 400, {"requestID": secrets.token_hex(16), "error": error})


async def _send_json(send: Send, status: int, body: Mapping[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
