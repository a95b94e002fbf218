"""Twins for the tests: an image of a few lines, an AWS without services, resources as a stack export has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.runner import Credentials, LocalImage

GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/api/1"
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/api/1/1"
EXECUTION_ROLE = "arn:aws:iam::123456789012:role/execution"
TASK_ROLE = "arn:aws:iam::123456789012:role/task"
IMAGE = "repository@sha256:" + "0" * 64

PROGRAM = """
import hashlib, http.server, json, os, signal, sys, threading, time, urllib.parse

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_expect_100(self):
        if self.path.startswith("/reject"):
            return True
        return super().handle_expect_100()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/health":
            broken = os.environ.get("BREAK_FILE")
            self.answer(503 if broken and os.path.exists(broken) else int(os.environ.get("HEALTH", "200")))
        elif url.path == "/environment":
            self.answer(200, json.dumps(dict(os.environ)).encode())
        elif url.path == "/headers":
            self.answer(200, json.dumps([[k.lower(), v] for k, v in self.headers.items()]).encode())
        elif url.path == "/held":
            # Says that it was asked, and answers when it is told to.
            open(os.path.join(query["folder"], "asked"), "w").close()
            while not os.path.exists(os.path.join(query["folder"], "go")):
                time.sleep(0.01)
            self.answer(200, b"held")
        elif url.path == "/bytes":
            count = int(query["count"])
            self.send_response(200)
            self.send_header("Content-Length", str(count))
            self.end_headers()
            block = bytes(65536)
            while count > 0:
                self.wfile.write(block[:count])
                count -= len(block)
        elif url.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif url.path == "/die":
            os._exit(3)
        else:
            self.answer(200, json.dumps({"version": os.environ.get("VERSION"), "pid": os.getpid()}).encode())

    do_HEAD = do_GET

    def do_POST(self):
        if self.path.startswith("/reject"):
            self.answer(413, b"too large")
            self.close_connection = True
            return
        size, digest = 0, hashlib.sha256()
        for block in self.blocks():
            size += len(block)
            digest.update(block)
        self.answer(200, json.dumps({"size": size, "sha256": digest.hexdigest()}).encode())

    def blocks(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (block := self.rfile.read(min(left, 65536))):
            left -= len(block)
            yield block

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False

def serve():
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
    def stop(*_):
        threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("STUBBORN") else stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    server.serve_forever(0.05)
    server.server_close()
    print("stopped cleanly", flush=True)

if __name__ == "__main__":
    if sys.argv[1:] == ["api"] and not os.environ.get("FORK"):
        # Whoever reads the next line may stop it at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("started", sys.argv[1:], flush=True)
    if os.environ.get("EXIT_CODE"):
        print("bad configuration", flush=True)
        sys.exit(int(os.environ["EXIT_CODE"]))
    if os.environ.get("FORK"):
        if os.fork() == 0:
            time.sleep(600)
    if sys.argv[1:] == ["check"]:
        import urllib.request
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/health").close()
    elif sys.argv[1:] == ["idle"]:
        time.sleep(600)
    else:
        serve()
"""


@dataclass
class FakeCloud:
    """Knows parameters, and which role may read each; keeps the credentials that it gave."""

    endpoint_url: str = "http://127.0.0.1:9"
    region: str = "eu-west-1"
    parameters: dict[str, str] = field(default_factory=dict)
    readers: dict[str, str] = field(default_factory=dict)

    async def credentials(self, role_arn: str) -> Credentials:
        if role_arn.endswith("/missing"):
            raise PermissionError("there is no such role")
        return Credentials(f"key-of-{role_arn}", "secret", "token", datetime.now(UTC) + timedelta(hours=1))

    async def parameter(self, arn_or_name: str, credentials: Credentials) -> str:
        if self.readers.get(arn_or_name) != credentials.access_key_id.removeprefix("key-of-"):
            raise PermissionError("not authorized to perform ssm:GetParameter")
        return self.parameters[arn_or_name]


@dataclass
class FakeImages:
    """One image, whatever its reference says, as long as that is no `missing` one."""

    path: Path
    environment: dict[str, str] = field(default_factory=lambda: {"FROM_IMAGE": "yes"})

    def find(self, reference: str) -> LocalImage:
        if "missing" in reference:
            raise LookupError(f"{reference} was never built here")
        return LocalImage(self.path, ("python", "-m", "service"), self.environment)


def write_image(folder: Path) -> FakeImages:
    """The image with the program of the tests, written to a folder."""
    (folder / "service").mkdir(parents=True)
    (folder / "service" / "__init__.py").touch()
    (folder / "service" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    return FakeImages(folder)


def resource(kind: str, name: str, outputs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:local::project::{kind}::{name}"
    return {"urn": urn, "type": kind, "id": outputs.get("id", name), "custom": True, "outputs": dict(outputs), **more}


def task_definition(
    family: str = "api",
    revision: int = 1,
    environment: Mapping[str, str] | None = None,
    container: Mapping[str, Any] | None = None,
    **outputs: Any,
) -> dict[str, Any]:
    containers = [
        {
            "name": "app",
            "image": IMAGE,
            "command": ["api"],
            "environment": [{"name": name, "value": value} for name, value in (environment or {}).items()],
            "stopTimeout": 5,
            **(container or {}),
        }
    ]
    arn = f"arn:aws:ecs:eu-west-1:123456789012:task-definition/{family}:{revision}"
    return resource(
        "aws:ecs/taskDefinition:TaskDefinition",
        family,
        {
            "arn": arn,
            "family": family,
            "revision": revision,
            "containerDefinitions": json.dumps(containers),
            "taskRoleArn": TASK_ROLE,
            "executionRoleArn": EXECUTION_ROLE,
            **outputs,
        },
    )


def service(name: str = "api", revision: int = 1, balanced: bool = True, **outputs: Any) -> dict[str, Any]:
    balancers = [{"targetGroupArn": GROUP, "containerName": "app", "containerPort": 8080}] if balanced else []
    return resource(
        "aws:ecs/service:Service",
        name,
        {
            "arn": f"arn:aws:ecs:eu-west-1:123456789012:service/cluster/{name}",
            "name": name,
            "desiredCount": 1,
            "taskDefinition": f"arn:aws:ecs:eu-west-1:123456789012:task-definition/{name}:{revision}",
            "loadBalancers": balancers,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "deploymentMinimumHealthyPercent": 100,
            "deploymentMaximumPercent": 200,
            # However long a task takes to start on a busy machine.
            "healthCheckGracePeriodSeconds": 120,
            **outputs,
        },
    )


def target_group(**health: Any) -> dict[str, Any]:
    check = {"path": "/health", "matcher": "200", "interval": 1, "timeout": 60, "healthyThreshold": 2}
    check |= {"unhealthyThreshold": 2, **health}
    return resource(
        "aws:lb/targetGroup:TargetGroup", "api", {"arn": GROUP, "healthCheck": check, "deregistrationDelay": 10}
    )


def listener(**outputs: Any) -> dict[str, Any]:
    action = {"type": "forward", "targetGroupArn": GROUP}
    values = {"arn": LISTENER, "port": 80, "protocol": "HTTP", "defaultActions": [action], **outputs}
    return resource("aws:lb/listener:Listener", "api", values)


def schedule(expression: str = "rate(1 hour)", **outputs: Any) -> dict[str, Any]:
    target = {"arn": "cluster", "ecsParameters": {"taskDefinitionArn": "task-definition/sweep", "taskCount": 1}}
    values = {"arn": "schedule/sweep", "name": "sweep", "scheduleExpression": expression, "target": target, **outputs}
    return resource("aws:scheduler/schedule:Schedule", "sweep", values)


def api_stack(
    revision: int = 1,
    environment: Mapping[str, str] | None = None,
    container: Mapping[str, Any] | None = None,
    health: Mapping[str, Any] | None = None,
    **service_outputs: Any,
) -> Sequence[Mapping[str, Any]]:
    """A service `api` behind a listener."""
    return [
        task_definition("api", revision, {"VERSION": str(revision), **(environment or {})}, container),
        target_group(**(health or {})),
        listener(),
        service("api", revision, **service_outputs),
    ]


async def until(condition: Any, seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
