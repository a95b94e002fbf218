from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from service.aws.bucket import StoreFailed
from service.aws.queues import Failed, Message, Outgoing, QueueAway
from service.telemetry.metrics import Metrics
from service.worker import worker as worker_module
from service.worker.backoff import Backoff
from service.worker.worker import Worker
from tests.service.conftest import Aws
from tests.service.harness import LIVENESS_SECONDS, Process, started, wait_until
from tests.service.memory import MemoryBucket, MemoryQueue
from tests.service.serving import serving


@contextlib.contextmanager
def working(queue: MemoryQueue, bucket: MemoryBucket, **options: Any) -> Iterator[Worker]:
    worker = Worker(queue, bucket, **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(LIVENESS_SECONDS)
        assert not thread.is_alive()


def fill(queue: MemoryQueue, count: int) -> None:
    for number in range(count):
        queue.send([Outgoing(f'{{"n":{number}}}')])


def test_every_message_becomes_one_object_and_is_deleted() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    fill(queue, 100)
    with working(queue, bucket):
        wait_until(lambda: len(queue) == 0)
    assert sorted(json.loads(content)["n"] for content in bucket.objects.values()) == list(range(100))
    assert len(bucket.puts) == 100


def test_a_message_is_deleted_only_after_its_object_is_stored() -> None:
    bucket = MemoryBucket()
    stored_before: list[bool] = []

    class Watching(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            stored_before.extend(any(message.message_id in key for key in bucket.objects) for message in messages)
            return super().delete(messages)

    queue = Watching()
    fill(queue, 20)
    with working(queue, bucket):
        wait_until(lambda: len(queue) == 0)
    assert stored_before == [True] * 20


def test_a_message_delivered_twice_makes_one_object() -> None:
    queue, bucket = MemoryQueue(visibility_seconds=0.05), MemoryBucket()
    fill(queue, 5)
    queue.keep = lambda message: message.receive_count < 2
    with working(queue, bucket):
        wait_until(lambda: len(queue) == 0)
    assert len(bucket.puts) > 5
    assert len(bucket.objects) == 5


def test_a_message_that_can_not_be_parsed_is_handed_back_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    queue.send([Outgoing("not json")])
    fill(queue, 10)
    with caplog.at_level(logging.ERROR), working(queue, bucket):
        wait_until(lambda: len(queue) == 1)
        wait_until(lambda: len(queue.hidden) > 0)
    assert len(bucket.objects) == 10
    assert queue.hidden[0][1] == 1, "soon, for its receive count to bring it to the dead-letter queue"
    assert "not json" not in caplog.text


def test_an_object_that_can_not_be_stored_is_tried_again_later() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()

    def fail(_: str) -> None:
        raise StoreFailed("SlowDown")

    bucket.fail = fail
    fill(queue, 2)
    with working(queue, bucket):
        wait_until(lambda: len(queue.hidden) > 0)
        (later,) = queue.hidden
        # One is handed back for later, and the other one kept to see whether the bucket is back.
        wait_until(lambda: len(bucket.puts) >= 4)
        assert queue.hidden == [later]
    assert len(queue) == 2
    assert bucket.objects == {}
    assert 15 <= later[1] <= 30
    assert sum(later[0] in key for key in bucket.puts) == 1


def test_the_message_that_is_kept_is_stored_as_soon_as_the_bucket_is_back_and_more_are_taken() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()

    def fail(_: str) -> None:
        if len(bucket.puts) < 3:
            raise StoreFailed("SlowDown")

    bucket.fail = fail
    fill(queue, 1)
    with working(queue, bucket, bucket_backoff=Backoff(0.01, shortest_seconds=0.001)):
        wait_until(lambda: len(queue) == 0)
        fill(queue, 30)
        wait_until(lambda: len(queue) == 0)
    assert len(bucket.puts) == 33
    assert queue.hidden == [], "none was handed back, so none was delivered twice"


def test_a_message_that_is_kept_is_handed_back_when_the_worker_stops() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()

    def fail(_: str) -> None:
        raise StoreFailed("SlowDown")

    bucket.fail = fail
    fill(queue, 1)
    with working(queue, bucket, bucket_backoff=Backoff(30, shortest_seconds=30)):
        wait_until(lambda: len(bucket.puts) == 1)
    assert [15 <= seconds <= 30 for _, seconds in queue.hidden] == [True]
    assert len(queue) == 1


def test_what_is_stored_and_can_not_be_deleted_is_no_reason_to_take_ever_more() -> None:
    queue, bucket, go_on = MemoryQueue(), MemoryBucket(), threading.Event()
    delete = queue.delete

    class Hanging(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> list[Failed]:
            assert go_on.wait(LIVENESS_SECONDS)
            return delete(messages)

        receive = staticmethod(queue.receive)
        hide = staticmethod(queue.hide)

    fill(queue, 200)
    with working(Hanging(), bucket, concurrency=10) as worker:
        most = 2 * 10 + 10 * worker_module.DELETING_THREADS
        wait_until(lambda: worker.in_work >= most)
        polls = worker.heartbeats[0]
        for _ in range(3):  # turns of the poll loop
            polls.rest()
            wait_until(lambda: polls.age_seconds >= 0)
        # A poll under way may have brought ten more.
        assert most <= worker.in_work <= most + 10
        go_on.set()
        wait_until(lambda: len(queue) == 0)
    assert len(bucket.objects) == 200


def test_no_further_message_is_taken_for_a_moment_after_a_failure() -> None:
    polls: list[int] = []

    class Counting(MemoryQueue):
        def receive(self, limit: int) -> list[Message]:
            polls.append(limit)
            return super().receive(limit)

    def fail(_: str) -> None:
        raise StoreFailed("SlowDown")

    queue, bucket = Counting(), MemoryBucket(fail=fail)
    fill(queue, 2)
    with working(queue, bucket):
        wait_until(lambda: len(queue.hidden) > 0)
        before = len(polls)
        time.sleep(0.3)  # the shortest pause is half a second; without one there are dozens of polls
        assert len(polls) - before <= 1


def test_an_unexpected_failure_gives_the_message_back_and_the_worker_goes_on() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()

    def fail(_: str) -> None:
        bucket.fail = lambda _: None
        raise RuntimeError("surprise")

    bucket.fail = fail
    fill(queue, 5)
    with working(queue, bucket, concurrency=1):
        wait_until(lambda: len(queue) == 1)
    assert len(bucket.objects) == 4
    assert len(queue.hidden) == 1


def test_polls_renewals_and_every_deleting_thread_have_a_pulse() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    with working(queue, bucket) as worker:
        names = [heartbeat.name for heartbeat in worker.heartbeats]
        polls = names.count("the poll loop")
        assert polls > 1
        assert len(set(names)) == 3 and len(names) == polls + 1 + worker_module.DELETING_THREADS
        # Resting ones are as fresh as can be, the others beat.
        resting = polls - 1 + worker_module.DELETING_THREADS
        wait_until(lambda: sum(heartbeat.age_seconds < 0 for heartbeat in worker.heartbeats) == resting)
        assert all(heartbeat.fresh for heartbeat in worker.heartbeats)


def test_each_poll_that_hangs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "SILENCE_SECONDS", 2.0)
    queue, bucket = MemoryQueue(), MemoryBucket()
    hangs, go_on = threading.Event(), threading.Event()
    receive = queue.receive

    def hang(most: int) -> Any:
        if threading.current_thread().name == "poll-1":
            hangs.set()
            assert go_on.wait(LIVENESS_SECONDS)
        elif not hangs.is_set():
            fill(queue, most)  # so that there is enough to do until it has joined
        return receive(most)

    monkeypatch.setattr(queue, "receive", hang)
    with working(queue, bucket) as worker:
        wait_until(
            lambda: [heartbeat.name for heartbeat in worker.heartbeats if not heartbeat.fresh] == ["the poll loop"]
        )
        go_on.set()
        wait_until(lambda: all(heartbeat.fresh for heartbeat in worker.heartbeats))


def test_retries_wait_longer_each_time_and_never_longer_than_the_limit() -> None:
    seconds = [worker_module._retry_seconds(count) for count in range(1, 40)]
    assert 15 <= seconds[0] <= 30
    assert 30 <= seconds[1] <= 60
    assert all(1 <= value <= worker_module.LONGEST_RETRY_SECONDS for value in seconds)


def test_no_message_is_taken_without_room_for_it() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    go_on = threading.Event()
    lock = threading.Lock()
    running, most = 0, 0

    def slow(_: str) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert go_on.wait(LIVENESS_SECONDS)
        with lock:
            running -= 1

    bucket.fail = slow
    fill(queue, 12)
    with working(queue, bucket, concurrency=3):
        wait_until(lambda: running == 3)
        time.sleep(0.1)
        assert len(queue.receive(10)) == 9, "what the worker has no room for stays visible to others"
        go_on.set()
        wait_until(lambda: len(queue) == 9)
    assert most == 3


def test_a_worker_whose_hands_are_full_still_has_a_pulse() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    go_on = threading.Event()

    def slow(_: str) -> None:
        assert go_on.wait(LIVENESS_SECONDS)

    bucket.fail = slow
    fill(queue, 2)
    with working(queue, bucket, concurrency=1) as worker:
        polls = worker.heartbeats[0]
        wait_until(lambda: worker.in_work == 1)
        for _ in range(2):
            wait_until(lambda: polls.age_seconds > 0.5)
            wait_until(lambda: polls.age_seconds < 0.5)
        assert worker.in_work == 1
        go_on.set()


def test_a_long_job_keeps_its_message_hidden() -> None:
    queue, bucket = MemoryQueue(visibility_seconds=1), MemoryBucket()
    go_on = threading.Event()

    def slow(_: str) -> None:
        assert go_on.wait(LIVENESS_SECONDS)

    bucket.fail = slow
    fill(queue, 1)
    with working(queue, bucket, visibility_seconds=1):
        wait_until(lambda: len(queue.hidden) >= 3)
        assert queue.receive(1) == []
        go_on.set()
        wait_until(lambda: len(queue) == 0)
    assert len(bucket.puts) == 1


def test_stopping_finishes_what_runs_and_hands_back_what_comes_too_late() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    polled, go_on, storing = threading.Event(), threading.Event(), threading.Event()
    original = queue.receive
    fill(queue, 1)

    def slow(_: str) -> None:
        storing.set()
        time.sleep(0.2)

    bucket.fail = slow

    class LatePoll(MemoryQueue):
        def receive(self, limit: int) -> list[Message]:
            if storing.is_set():
                polled.set()
                assert go_on.wait(LIVENESS_SECONDS)
            return original(limit)

        delete = staticmethod(queue.delete)
        hide = staticmethod(queue.hide)

    with working(LatePoll(), bucket) as worker:
        assert polled.wait(LIVENESS_SECONDS)
        fill(queue, 4)
        worker.stop()
        go_on.set()
    assert len(bucket.objects) == 1
    assert len(queue) == 4
    assert [seconds for _, seconds in queue.hidden] == [0] * 4
    assert len(queue.receive(10)) == 4


def test_a_queue_that_is_away_is_waited_for_and_then_worked_off() -> None:
    queue, bucket = MemoryQueue(), MemoryBucket()
    fill(queue, 3)
    queue.away = True
    with working(queue, bucket):
        time.sleep(0.1)
        queue.away = False
        wait_until(lambda: len(queue) == 0)
    assert len(bucket.objects) == 3


def test_once_the_queue_is_back_an_idle_worker_polls_without_pause() -> None:
    class Counting(MemoryQueue):
        asked = polls = 0

        def receive(self, most: int) -> list[Message]:
            self.asked += 1
            received = super().receive(most)
            self.polls += 1
            return received

    queue = Counting()
    queue.away = True
    with working(queue, MemoryBucket(), queue_backoff=Backoff(60, shortest_seconds=0.05, jitter=lambda: 1.0)):
        # Each failure is followed by a longer pause than the one before it; the last is of more than a second.
        wait_until(lambda: queue.asked > 5)
        assert queue.polls == 0
        queue.away = False
        wait_until(lambda: queue.polls > 100)


# The worker as a process, against an AWS on this machine.


@pytest.fixture
def worker_env(aws: Aws, queue_url: str) -> dict[str, str]:
    aws.client("s3").create_bucket(Bucket="emails")
    return {**aws.env, "INBOX_QUEUE_URL": queue_url, "EMAILS_BUCKET": "emails", "WORKER_WAIT_SECONDS": "1"}


@pytest.fixture
def process(worker_env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with started("worker", worker_env, tmp_path / "log") as found:
        yield found


def objects(aws: Aws) -> dict[str, Any]:
    return {entry["Key"]: entry for entry in aws.client("s3").list_objects_v2(Bucket="emails").get("Contents", [])}


def test_a_process_stores_json_under_the_day_of_sending_and_exits_with_0(
    aws: Aws, queue_url: str, process: Process
) -> None:
    sent = aws.client("sqs").send_message(QueueUrl=queue_url, MessageBody='{"email_timestream":1,"é":"\\u00e9"}')
    wait_until(lambda: any(sent["MessageId"] in key for key in objects(aws)))
    (key,) = (key for key in objects(aws) if sent["MessageId"] in key)
    assert key == time.strftime(f"emails/%Y/%m/%d/{sent['MessageId']}.json", time.gmtime())
    stored = aws.client("s3").get_object(Bucket="emails", Key=key)
    assert stored["ContentType"] == "application/json"
    assert stored["Body"].read() == '{"email_timestream":1,"é":"\\u00e9"}'.encode()
    assert process.stop() == 0
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert [line["message"] for line in process.lines()] == ["starting", "stored", "stopped"]


def test_a_process_with_an_agent_asks_for_protection_while_it_works(
    aws: Aws, queue_url: str, worker_env: dict[str, str], tmp_path: Path
) -> None:
    asked: list[bool] = []
    go_on = threading.Event()

    class Agent(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(content["ProtectionEnabled"])
            body = json.dumps({"protection": {"ProtectionEnabled": asked[-1]}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class SlowS3(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            assert go_on.wait(LIVENESS_SECONDS)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Agent) as agent, serving(SlowS3) as s3:
        env = {**worker_env, "ECS_AGENT_URI": f"{agent}/api/1", "AWS_ENDPOINT_URL_S3": s3}
        with started("worker", env, tmp_path / "log") as process:
            aws.client("sqs").send_message(QueueUrl=queue_url, MessageBody="{}")
            wait_until(lambda: asked == [True])
            go_on.set()
            assert process.stop() == 0
            assert process.lines()[-1]["message"] == "stopped"


def test_an_unparsable_message_reaches_the_dead_letter_queue(aws: Aws, queue_url: str, process: Process) -> None:
    sqs = aws.client("sqs")
    sqs.send_message(QueueUrl=queue_url, MessageBody="not json")
    dead = queue_url + "-dead"

    def is_dead() -> bool:
        return bool(sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0).get("Messages"))

    wait_until(is_dead)
    assert process.popen.poll() is None


def test_killed_at_any_moment_it_loses_no_message(aws: Aws, worker_env: dict[str, str], tmp_path: Path) -> None:
    sqs = aws.client("sqs")
    # Without a dead-letter queue: three seconds may not be enough for a delivery, which is no loss.
    queue_url = sqs.create_queue(QueueName="killed-at-any-moment")["QueueUrl"]
    ids = {sqs.send_message(QueueUrl=queue_url, MessageBody=f'{{"n":{n}}}')["MessageId"] for n in range(60)}
    env = {**worker_env, "INBOX_QUEUE_URL": queue_url, "VISIBILITY_TIMEOUT_SECONDS": "3"}
    with started("worker", env, tmp_path / "first") as first:
        wait_until(lambda: "stored" in first.log.read_text())
        first.stop(signal.SIGKILL)
    with started("worker", env, tmp_path / "second"):
        wait_until(lambda: {key[-41:-5] for key in objects(aws)} >= ids)
    keys = [key for key in objects(aws) if key[-41:-5] in ids]
    assert len(keys) == 60


def test_metrics_tell_what_became_of_the_messages() -> None:
    queue, bucket, metrics = MemoryQueue(), MemoryBucket(), Metrics("worker")
    fill(queue, 3)
    queue.send([Outgoing("not json")])
    with working(queue, bucket, metrics=metrics):
        wait_until(lambda: len(queue) == 1 and len(queue.hidden) == 1)
    (line,) = (json.loads(line) for line in metrics.lines())
    assert {name: line[name] for name in ("Received", "Stored", "Deleted", "Failures")} == {
        "Received": 4,
        "Stored": 3,
        "Deleted": 3,
        "Failures": 1,
    }
    assert len(line["WorkerLag"]) == len(line["PutLatency"]) == 3
    assert "Duplicates" not in line


def test_an_object_that_is_there_already_is_a_duplicate_and_a_success() -> None:
    queue, metrics = MemoryQueue(visibility_seconds=0.05), Metrics("worker")
    bucket = MemoryBucket()
    queue.keep = lambda message: message.receive_count < 2
    fill(queue, 1)
    with working(queue, bucket, metrics=metrics):
        wait_until(lambda: len(queue) == 0)
    (line,) = (json.loads(line) for line in metrics.lines())
    assert line["Stored"] == 1
    assert line["Duplicates"] >= 1


def test_further_pollers_join_while_there_is_much_to_do_and_leave_when_there_is_not() -> None:
    polling, most, lock = 0, 0, threading.Lock()

    class Slow(MemoryQueue):
        def receive(self, limit: int) -> list[Message]:
            nonlocal polling, most
            with lock:
                polling += 1
                most = max(most, polling)
            time.sleep(0.01)
            found = super().receive(limit)
            with lock:
                polling -= 1
            return found

    queue = Slow()
    fill(queue, 400)
    with working(queue, MemoryBucket()) as worker:
        wait_until(lambda: len(queue) == 0)
        assert most > 1
        wait_until(lambda: worker.in_work == 0)
        wait_until(lambda: polling <= 1)
        time.sleep(0.2)
        most = 0
        time.sleep(0.2)
        assert most <= 1, "an idle worker asks one question at a time"


def test_however_much_there_was_to_do_further_pollers_leave_when_it_is_done() -> None:
    """A call for help that nobody needs is not kept for later."""
    empty: Counter[str] = Counter()

    class Counting(MemoryQueue):
        def receive(self, limit: int) -> list[Message]:
            found = super().receive(limit)
            if not found:
                empty[threading.current_thread().name] += 1
            return found

    queue = Counting()
    fill(queue, 1000)
    with working(queue, MemoryBucket()) as worker:
        wait_until(lambda: empty["poll-0"] >= 30)
        helpers = len([heartbeat for heartbeat in worker.heartbeats if heartbeat.name == "the poll loop"]) - 1
        # One for each to see that nothing is left, and one for each who is called with the last full polls.
        assert empty.total() - empty["poll-0"] <= 2 * helpers + 1


@pytest.mark.parametrize("failure", ["away", "gone"])
def test_a_message_that_can_not_be_handed_back_harms_nothing(caplog: pytest.LogCaptureFixture, failure: str) -> None:
    class Unkind(MemoryQueue):
        def hide(self, messages: Sequence[Message], seconds: int) -> list[Failed]:
            if failure == "away":
                raise QueueAway("RequestThrottled")
            return [Failed(message, "ReceiptHandleIsInvalid", sender_fault=True) for message in messages]

    queue, bucket = Unkind(), MemoryBucket()
    queue.send([Outgoing("not json")])
    with caplog.at_level(logging.WARNING), working(queue, bucket):
        wait_until(lambda: "could not be handed back" in caplog.text)
        fill(queue, 1)
        wait_until(lambda: len(bucket.objects) == 1)
