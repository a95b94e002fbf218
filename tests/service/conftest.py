from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from blockbuster import blockbuster_ctx
from boto3.session import Session
from hypothesis import settings
from moto.server import ThreadedMotoServer

from tests.service.harness import TOKEN, Api, running_api
from tests.service.live_api import LoopName, Served, live_api
from tests.service.seen import Witness

# No deadline: how long an example takes says more about the machine than about the code. No folder of examples either.
settings.register_profile("service", deadline=None, database=None)
settings.load_profile("service")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as found:
        yield found


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_name(request: pytest.FixtureRequest) -> LoopName:
    found: LoopName = request.param
    return found


@pytest.fixture
def serve(tmp_path: Path, loop_name: LoopName) -> Iterator[Callable[..., Served]]:
    """Makes servers, in this process and on a thread each; all are stopped, and must stop, at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda **changes: stack.enter_context(live_api(tmp_path / "files", loop_name, **changes))


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


@pytest.fixture(autouse=True)
def nothing_confided_is_logged() -> Iterator[None]:
    """No line that any test makes this process log has the token, a body or a file's content in it."""
    witness = Witness()
    root, service = logging.getLogger(), logging.getLogger("service")
    level = service.level
    service.setLevel(logging.INFO)
    root.addHandler(witness)
    yield
    root.removeHandler(witness)
    service.setLevel(level)
    witness.check(TOKEN)


@pytest.fixture(autouse=True)
def no_blocking_call_on_a_loop() -> Iterator[None]:
    """Raises where the service blocks a thread in which a loop runs."""
    with blockbuster_ctx(scanned_modules="service") as found:
        # Coverage's own lock, taken wherever a line is measured.
        found.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
        found.functions["threading.Lock.acquire_lock"].can_block_in("coverage/collector.py", {"lock_data"})
        yield


@pytest.fixture(scope="session", autouse=True)
def aws_models_are_read_once() -> Iterator[None]:
    """Each session of botocore reads megabytes of JSON again, which takes most of the time of making a client."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@dataclass(frozen=True)
class Aws:
    """An AWS on this machine."""

    url: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    @functools.cache  # noqa: B019  there is one of these
    def client(self, service: str) -> Any:
        session = Session("test", "test", region_name="us-east-1")
        return session.client(service, endpoint_url=self.url)


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = Aws(f"http://{host}:{port}")
    found.client("ssm").put_parameter(Name="/test/api-token", Value=TOKEN, Type="SecureString")
    yield found
    server.stop()


@pytest.fixture
def queue_url(aws: Aws, request: pytest.FixtureRequest) -> str:
    """A queue of the test's own, with a dead-letter queue after two receives."""
    name = "".join(character if character.isalnum() else "-" for character in request.node.name)[:60]
    sqs = aws.client("sqs")
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"2"}}'
    return str(sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive})["QueueUrl"])
