"""`make up` as its user has it: a copy of the project, the commands, curl's requests, kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest

from tests.engine.waiting import wait_for

JSON = {"Content-Type": "application/json"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """One running `make up` of a checkout."""

    def __init__(self, checkout: Path, log: Path) -> None:
        self.checkout, self.log = checkout, log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # A user's own account must not be what the tasks find.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PULUMI_", "LOCAL_"))}
        self.environment |= {"AWS_ACCESS_KEY_ID": "AKIAREALACCOUNT", "AWS_SECRET_ACCESS_KEY": "real"}
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "up", "--port", str(self.port), "--cloud-port", str(free_port())],
                cwd=checkout,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.log.read_text()

    def until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.text()
            return f"ready: {self.url}" in self.text() and "Ctrl-C stops everything" in self.text()

        wait_for(ready, "ready", 300)

    def printed(self, name: str) -> str:
        match = re.search(rf"(?m)^  {name} +(\S+)", self.text())
        assert match, self.text()
        return match.group(1)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=self.checkout,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def tasks(self, command: str) -> list[int]:
        """The process ids of the running tasks of this checkout with this command."""
        found = []
        for record in (self.checkout / ".local" / "tasks").glob("*.json"):
            try:
                pid = int(json.loads(record.read_text())["pid"])
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (OSError, ValueError, KeyError):
                continue
            if command.encode() in words:
                found.append(pid)
        return found

    def objects(self) -> list[str]:
        """The keys in the bucket, read as the printed lines say."""
        with self._client("s3") as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.printed("bucket"))
            return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def waiting(self) -> int:
        """How many messages the queue holds, those that a worker has in its hands among them."""
        with self._client("sqs") as sqs:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            found = sqs.get_queue_attributes(QueueUrl=self.printed("queue"), AttributeNames=names)
            return sum(int(found["Attributes"][name]) for name in names)

    def read_object(self, key: str) -> Any:
        with self._client("s3") as s3:
            return json.loads(s3.get_object(Bucket=self.printed("bucket"), Key=key)["Body"].read())

    @contextmanager
    def _client(self, service: str) -> Iterator[Any]:
        client = boto3.client(
            service,
            endpoint_url=self.printed("AWS"),
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        try:
            yield client
        finally:
            client.close()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(300)

    def left_over(self) -> list[str]:
        """Command lines of processes that still work in this checkout."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                folder = (process / "cwd").readlink()
            except OSError:
                continue
            if str(folder).startswith(str(self.checkout)) or str(self.checkout) in line:
                found.append(line)
        return found


@pytest.fixture(scope="module")
def up(checkout: Path, tmp_path_factory: pytest.TempPathFactory, figures: Any) -> Iterator[Up]:
    started = time.monotonic()
    up = Up(checkout, tmp_path_factory.mktemp("up") / "log")
    try:

        def answers() -> bool:
            assert up.process.poll() is None, up.text()
            try:
                return httpx2.get(f"{up.url}/healthcheck").status_code == 200
            except httpx2.HTTPError:
                return False

        wait_for(answers, "the first 200", 300)
        figures("make up to the first 200, set-up done, nothing deployed before", time.monotonic() - started)
        up.until_ready()
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()


def message(up: Up, number: int) -> dict[str, Any]:
    return {"token": up.printed("token"), "data": {"email_timestream": 1749465045, "number": number}}


def test_a_file_is_sent_listed_and_read_back(up: Up) -> None:
    # The body is what `curl -d` sends, with its content type.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = httpx2.post(f"{up.url}/arquivos", content=b"file content", headers=form)
    assert sent.status_code == 201
    answer = sent.json()
    assert answer["message"] == "Arquivo salvo com sucesso"
    assert answer["file"] == f"/mnt/efs/{answer['id']}.txt"
    assert f"{answer['id']}.txt" in httpx2.get(f"{up.url}/arquivos").json()["files"]
    assert httpx2.get(f"{up.url}/arquivos/{answer['id']}").content == b"file content"
    # `localhost` may be ::1 first.
    assert httpx2.get(f"http://localhost:{up.port}/arquivos/{answer['id']}").content == b"file content"


def test_what_is_ingested_is_an_object_within_seconds(up: Up) -> None:
    first = httpx2.post(f"{up.url}/ingest", json=message(up, -1))
    iso = {"token": up.printed("token"), "email_timestream": "2026-01-31T12:00:00Z", "hello": "world"}
    second = httpx2.post(f"{up.url}/submit", json=iso)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["message"] == "Payload accepted and queued."
    names = {answer.json()["message_id"] for answer in (first, second)}
    wait_for(lambda: names <= {key.rpartition("/")[2].removesuffix(".json") for key in up.objects()}, "two objects")
    keys = [key for key in up.objects() if key.rpartition("/")[2].removesuffix(".json") in names]
    assert len(keys) == 2
    assert all(re.fullmatch(r"emails/\d{4}/\d\d/\d\d/[0-9a-f-]+\.json", key) for key in keys)
    contents = [up.read_object(key) for key in keys]
    assert {"email_timestream": 1749465045, "number": -1} in contents
    assert {"email_timestream": "2026-01-31T12:00:00Z", "hello": "world"} in contents


def test_a_wrong_token_is_refused(up: Up) -> None:
    answer = httpx2.post(f"{up.url}/ingest", json=message(up, 0) | {"token": "wrong"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_second_make_up_of_the_checkout_is_refused(up: Up) -> None:
    second = up.command("up", "--port", str(free_port()))
    assert second.returncode == 1
    assert "running for this checkout already" in second.stderr
    assert "Traceback" not in second.stderr


def test_killed_tasks_come_back_and_every_accepted_message_is_one_object(up: Up) -> None:
    before = set(up.objects())
    accepted: dict[int, str] = {}
    killed: list[tuple[str, int]] = []
    lock = threading.Lock()

    def kill_tasks() -> None:
        for command, count in (("worker", 100), ("api", 200), ("worker", 300)):
            wait_for(partial(has_accepted, count), f"{count} accepted messages")
            wait_for(partial(runs, command, 1), f"a {command} to kill")
            for pid in up.tasks(command):
                os.kill(pid, signal.SIGKILL)
                killed.append((command, pid))

    def has_accepted(count: int) -> bool:
        return len(accepted) >= count

    def runs(command: str, count: int) -> bool:
        return len(up.tasks(command)) == count

    def send(number: int) -> None:
        # The same key until there is an answer: a request that died half-way may have been queued, or not.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                answer = client.post(f"{up.url}/ingest", json=message(up, number), headers=headers)
            except httpx2.HTTPError:
                continue
            if answer.status_code == 202:
                with lock:
                    accepted[number] = answer.json()["message_id"]
                return
            assert answer.status_code in {502, 503}, answer.text
            time.sleep(0.05)
        raise AssertionError(f"message {number} was never accepted")

    limits = httpx2.Limits(max_connections=8)
    with httpx2.Client(limits=limits, timeout=30) as client, ThreadPoolExecutor(9) as pool:
        killer = pool.submit(kill_tasks)
        list(pool.map(send, range(500)))
        killer.result()
    assert len(accepted) == 500
    assert Counter(command for command, _ in killed) == {"worker": 2, "api": 1}

    # What a killed worker had in its hands comes back with its visibility timeout.
    wait_for(lambda: len(set(up.objects()) - before) >= 500, "500 objects", 300)
    wait_for(lambda: up.waiting() == 0, "every message to be deleted")
    new = sorted(set(up.objects()) - before)
    assert len(new) == 500
    numbers = Counter(up.read_object(key)["number"] for key in new)
    assert numbers == Counter(range(500))
    for command, pid in killed:
        wait_for(partial(runs, command, 1), f"the {command} to be back")
        assert pid not in up.tasks(command)
    assert "exited" in up.text()


class Load:
    """A steady load of uploads, downloads and ingest, until told to stop."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.failures: list[str] = []
        self.counts: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._files, self._files, self._ingest)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_each_has(self, more: int) -> None:
        """Waits for this many more answers to requests of each kind, or for one that failed."""
        goals = {what: self.counts[what] + more for what in ("upload", "download", "ingest")}
        wait_for(
            lambda: bool(self.failures) or all(self.counts[what] >= goal for what, goal in goals.items()),
            f"{more} answers of each kind",
        )

    def _files(self) -> None:
        with httpx2.Client(timeout=30) as client:
            while not self._stop.is_set():
                content = os.urandom(20_000)
                sent = self._checked("upload", 201, partial(client.post, f"{self.up.url}/arquivos", content=content))
                if sent is not None:
                    path = sent.headers["location"]
                    got = self._checked("download", 200, partial(client.get, f"{self.up.url}{path}"))
                    if got is not None and got.content != content:
                        self.failures.append("download: not what was uploaded")
                time.sleep(0.01)

    def _ingest(self) -> None:
        with httpx2.Client(timeout=30) as client:
            while not self._stop.is_set():
                self._checked("ingest", 202, lambda: client.post(f"{self.up.url}/ingest", json=message(self.up, 0)))
                time.sleep(0.01)

    def _checked(self, what: str, status: int, call: Callable[[], httpx2.Response]) -> httpx2.Response | None:
        try:
            answer = call()
        except httpx2.HTTPError as error:
            self.failures.append(f"{what}: {error!r}")
            return None
        if answer.status_code != status:
            self.failures.append(f"{what}: {answer.status_code} {answer.text}")
            return None
        self.counts[what] += 1
        return answer


def test_a_rolling_deployment_under_load_fails_no_request(up: Up) -> None:
    old = {command: up.tasks(command) for command in ("api", "worker")}
    stack = up.checkout / "Pulumi.local.yaml"
    stack.write_text(
        stack.read_text() + "  ecs-file-ingest:filesMaxBytes: 1000000\n  ecs-file-ingest:workerCpu: 512\n"
        "  ecs-file-ingest:workerMemory: 1024\n"
    )
    with Load(up) as load:
        load.until_each_has(20)
        deployed = up.command("deploy")
        load.until_each_has(20)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert load.failures == []
    for command, pids in old.items():
        assert len(up.tasks(command)) == 1
        assert not set(pids) & set(up.tasks(command)), f"the {command} was replaced"
    # The new configuration is what runs.
    assert httpx2.post(f"{up.url}/arquivos", content=b"x" * 1_000_001).status_code == 413


def test_a_changed_service_is_built_and_rolled_out(up: Up) -> None:
    file = up.checkout / "service" / "__init__.py"
    old = up.tasks("api")
    file.write_text(file.read_text() + "\n# changed\n")
    deployed = up.command("deploy")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert len(up.tasks("api")) == 1 and not set(old) & set(up.tasks("api"))


def test_a_deployment_that_does_not_get_healthy_is_rolled_back_and_reported(up: Up) -> None:
    file = up.checkout / "service" / "__main__.py"
    text = file.read_text()
    old = up.tasks("api")
    file.write_text('raise SystemExit("this image is broken")\n')
    try:
        with Load(up) as load:
            deployed = up.command("deploy")
    finally:
        file.write_text(text)
    assert deployed.returncode != 0
    assert "this image is broken" in deployed.stderr
    assert "rolled back" in deployed.stderr
    assert load.failures == []
    assert up.tasks("api") == old
    repaired = up.command("deploy")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr


def test_a_mistake_in_the_stack_file_changes_nothing(up: Up) -> None:
    stack = up.checkout / "Pulumi.local.yaml"
    text = stack.read_text()
    old = up.tasks("api")
    stack.write_text(text.replace("apiMaxTasks: 2", "apiMaxTasks: 0"))
    try:
        deployed = up.command("deploy")
    finally:
        stack.write_text(text)
    assert deployed.returncode == 1
    assert "apiMaxTasks" in deployed.stdout
    assert up.tasks("api") == old


def test_switching_the_api_off_to_the_schedule_alone_and_on_again(up: Up) -> None:
    stack = up.checkout / "Pulumi.local.yaml"
    text = stack.read_text()
    stack.write_text(f"{text}  ecs-file-ingest:apiEnabled: false\n  ecs-file-ingest:sweepState: enabled\n")
    try:
        off = up.command("deploy")
        assert off.returncode == 0, off.stdout + off.stderr
        assert up.tasks("api") == []
        assert httpx2.get(f"{up.url}/arquivos").status_code == 503
        assert len(up.tasks("worker")) == 1
        # A rate runs for the first time when its schedule is made.
        wait_for(lambda: bool(sweeps(up)), "the sweep to have run")
        assert sweeps(up)[0]["failed"] == 0
    finally:
        stack.write_text(text)
    on = up.command("deploy")
    assert on.returncode == 0, on.stdout + on.stderr
    assert httpx2.get(f"{up.url}/arquivos").status_code == 200


def sweeps(up: Up) -> list[Any]:
    """The summaries that sweeps have printed."""
    lines = [
        line for log in (up.checkout / ".local" / "logs").glob("sweep*/*.log") for line in log.read_text().splitlines()
    ]
    return [json.loads(line) for line in lines if '"swept"' in line]


def test_killed_with_everything_and_started_again_it_is_consistent(up: Up, tmp_path: Path, figures: Any) -> None:
    content = os.urandom(1000)
    stored = httpx2.post(f"{up.url}/arquivos", content=content).json()["id"]
    kept, token = up.objects(), up.printed("token")
    up.process.kill()
    up.process.wait()
    wait_for(lambda: up.left_over() == [], "everything to die with the session")

    again = Up(up.checkout, tmp_path / "log")
    started = time.monotonic()
    try:
        again.until_ready()
        figures("make up to ready, after a kill -9", time.monotonic() - started)
        assert "created" not in again.text() and "updated" not in again.text(), "the state was right"
        assert httpx2.get(f"{again.url}/arquivos/{stored}").content == content
        assert set(kept) <= set(again.objects())
        assert again.printed("token") == token
        assert httpx2.post(f"{again.url}/ingest", json=message(again, 7)).status_code == 202
        assert again.stop() == 0
        assert "Traceback" not in again.text()
        assert again.left_over() == []
    finally:
        if again.process.poll() is None:
            again.process.kill()
            again.process.wait()


def test_nothing_of_an_account_reaches_a_task(up: Up) -> None:
    for log in (up.checkout / ".local" / "logs").rglob("*.log"):
        assert "AKIAREALACCOUNT" not in log.read_text()


def test_a_port_that_is_taken_is_named(checkout: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = os.environ | {"LOCAL_DIR": str(tmp_path / "local")}
        run = subprocess.run(
            [sys.executable, "-m", "local", "up", "--port", str(port)],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 1
    assert str(port) in run.stderr and "PORT=" in run.stderr
    assert "Traceback" not in run.stderr


def test_deploy_without_a_session_says_what_to_do(checkout: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "local", "deploy"],
        cwd=checkout,
        env=os.environ | {"LOCAL_DIR": str(tmp_path / "local")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "run `make up` in another terminal first" in run.stderr
