"""The configuration of each command, read once from the environment and checked as a whole.

A wrong or missing variable stops the start with one message that names every mistake, each with the value given and
what is allowed, so that a bad task definition takes one attempt to mend and not one attempt a variable.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypedDict, cast

METRICS_NAMESPACE = "ecs-file-ingest"
LOG_LEVELS = ("debug", "info", "warning", "error")
SQS_LONGEST_POLL_SECONDS = 20  # ReceiveMessage refuses a longer WaitTimeSeconds
SQS_LONGEST_VISIBILITY_SECONDS = 43_200  # 12 hours, ChangeMessageVisibility


class SettingsError(Exception):
    """The environment can't configure the command; ``mistakes`` has one sentence for each variable."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("the environment is not a valid configuration:\n" + "\n".join(f"  - {m}" for m in mistakes))


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.mistakes: list[str] = []

    def text(self, name: str, default: str | None = None, *, choices: tuple[str, ...] = ()) -> str:
        value = self._env.get(name, "") or default
        if value is None:
            self.mistakes.append(f"{name} is not set; it is required")
            return ""
        if choices and value not in choices:
            self.mistakes.append(f"{name} is {value!r}; allowed: {', '.join(choices)}")
        return value

    def region(self, name: str) -> str:
        value = self.text(name)
        # What botocore takes (botocore/utils.py, validate_region_name), which says so with a traceback.
        if value and re.fullmatch(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)", value, re.ASCII) is None:
            self.mistakes.append(f"{name} is {value!r}; allowed: the name of a region, such as eu-central-1")
        return value

    def address(self, name: str) -> str:
        value = self.text(name)
        if value and re.fullmatch(r"https?://[^/\s]+/\S+", value, re.ASCII) is None:
            self.mistakes.append(f"{name} is {value!r}; allowed: the URL of a queue, https://…")
        return value

    def directory(self, name: str) -> Path:
        value = self.text(name)
        if value and not value.startswith("/"):
            self.mistakes.append(f"{name} is {value!r}; allowed: an absolute path")
        return Path(value)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self._env.get(name, "")
        if not value:
            return default
        # int() takes blanks, underscores and the digits of other scripts as well.
        number = int(value) if re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII) else low - 1
        if not low <= number <= high:
            self.mistakes.append(f"{name} is {value!r}; allowed: a whole number from {low} to {high}")
        return number

    def seconds(self, name: str, default: float, low: float, high: float) -> float:
        value = self._env.get(name, "")
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            self.mistakes.append(f"{name} is {value!r}; allowed: seconds from {low:g} to {high:g}")
        return number

    def size_a_run(self, name: str) -> int:
        """Bytes: 0 for off, which is the default, and more than there can be for all."""
        value = self._env.get(name, "") or "off"
        if value in ("off", "all"):
            return 0 if value == "off" else sys.maxsize
        match = re.fullmatch(r"([1-9][0-9]{0,6})([MGT]iB)", value, re.ASCII)
        if match is None:
            self.mistakes.append(
                f"{name} is {value!r}; allowed: off, all, or a size for each run in MiB, GiB or TiB, such as 10GiB"
            )
            return 0
        return int(match[1]) * {"MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}[match[2]]

    def finish(self) -> None:
        if self.mistakes:
            raise SettingsError(self.mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    region: str
    """``AWS_REGION``: the region of the queue, the bucket and the parameter. Required."""
    log_level: str = "info"
    """``LOG_LEVEL``: debug, info, warning or error."""
    metrics_seconds: float = 60.0
    """``METRICS_SECONDS``: how often the metrics are written, as lines in CloudWatch's embedded metric format."""
    metrics_namespace: str = METRICS_NAMESPACE
    """``METRICS_NAMESPACE``: the namespace of the metrics in CloudWatch."""
    port: int = 8080
    """``PORT``: the API listens on all addresses, the worker's liveness on 127.0.0.1 only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(_Common):
    """What ``python -m service api`` needs to know."""

    files_dir: Path
    """``FILES_DIR``: the directory of the file store, on AWS the mount point of the EFS volume. Required."""
    files_label: str = "/mnt/efs"
    """``FILES_LABEL``: the directory shown in the ``"file"`` member of an answer."""
    files_auth: Literal["token", "none"] = "token"
    """``FILES_AUTH``: ``token`` asks a bearer token of every request to /arquivos, ``none`` asks nothing."""
    files_max_bytes: int = 5 * 1024**3
    """``FILES_MAX_BYTES``: the largest body of an upload, in bytes."""
    files_max_uploads: int = 1024
    """``FILES_MAX_UPLOADS``: uploads at the same time; one more is answered 503."""
    files_stall_seconds: float = 30.0
    """``FILES_STALL_SECONDS``: an upload that sends nothing for so long is answered 408."""
    files_threads: int = 64
    """``FILES_THREADS``: file system calls at the same time, for uploads and as many again for downloads. On EFS a call
    waits some milliseconds for the network, so this bounds the requests a second."""
    files_timeout_seconds: float = 45.0
    """``FILES_TIMEOUT_SECONDS``: a file system call that takes longer is given up and answered 503. Longer than the sync
    of a large upload, shorter than the load balancer's idle timeout (60 s by default), which would answer 504."""
    inbox_queue_url: str
    """``INBOX_QUEUE_URL``: the queue that /ingest and /submit send to. Required."""
    api_token_parameter: str
    """``API_TOKEN_PARAMETER``: the name of the SSM parameter with the token. Required."""
    keep_alive_seconds: int = 75
    """``KEEP_ALIVE_SECONDS``: how long an idle connection stays open. Longer than the load balancer's idle timeout
    (60 s by default), else the balancer sends a request into a connection that is just being closed and answers 502."""
    drain_seconds: float = 5.0
    """``DRAIN_SECONDS``: how long new connections are still taken after SIGTERM; a load balancer keeps sending until it
    has noticed."""
    stop_timeout_seconds: float = 60.0
    """``STOP_TIMEOUT_SECONDS``: the time from SIGTERM to SIGKILL, the task definition's ``stopTimeout``."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises SettingsError, naming every mistake."""
        read = _Reader(env)
        settings = cls(
            **_common(read),
            files_dir=read.directory("FILES_DIR"),
            files_label=read.text("FILES_LABEL", "/mnt/efs").rstrip("/"),
            files_auth=cast(Literal["token", "none"], read.text("FILES_AUTH", "token", choices=("token", "none"))),
            files_max_bytes=read.integer("FILES_MAX_BYTES", 5 * 1024**3, 1, 47 * 1024**4),
            files_max_uploads=read.integer("FILES_MAX_UPLOADS", 1024, 1, 10_000),
            files_stall_seconds=read.seconds("FILES_STALL_SECONDS", 30.0, 0.1, 3600),
            files_threads=read.integer("FILES_THREADS", 64, 1, 1000),
            files_timeout_seconds=read.seconds("FILES_TIMEOUT_SECONDS", 45.0, 0.1, 3600),
            inbox_queue_url=read.address("INBOX_QUEUE_URL"),
            api_token_parameter=read.text("API_TOKEN_PARAMETER"),
            keep_alive_seconds=read.integer("KEEP_ALIVE_SECONDS", 75, 1, 4000),
            drain_seconds=read.seconds("DRAIN_SECONDS", 5.0, 0, 110),
            stop_timeout_seconds=read.seconds("STOP_TIMEOUT_SECONDS", 60.0, 1, 3600),
        )
        if settings.drain_seconds >= settings.stop_timeout_seconds:
            read.mistakes.append(
                f"DRAIN_SECONDS is {settings.drain_seconds:g}; allowed: less than STOP_TIMEOUT_SECONDS, "
                f"which is {settings.stop_timeout_seconds:g}"
            )
        read.finish()
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(_Common):
    """What ``python -m service worker`` needs to know."""

    inbox_queue_url: str
    """``INBOX_QUEUE_URL``: the queue to read. Required."""
    emails_bucket: str
    """``EMAILS_BUCKET``: the bucket to write to. Required."""
    emails_prefix: str = "emails/"
    """``EMAILS_PREFIX``: what every key begins with."""
    concurrency: int = 128
    """``WORKER_CONCURRENCY``: messages in work at the same time; fewer while they are so large that memory counts."""
    wait_seconds: int = 5
    """``WORKER_WAIT_SECONDS``: the long poll, 0 to 20. A stop waits for the poll that is under way, so a shorter one
    stops sooner and a longer one costs fewer requests."""
    visibility_timeout_seconds: int = 60
    """``VISIBILITY_TIMEOUT_SECONDS``: how long a message stays hidden from others; extended while it is worked on."""
    stop_timeout_seconds: float = 60.0
    """``STOP_TIMEOUT_SECONDS``: the time from SIGTERM to SIGKILL, the task definition's ``stopTimeout``."""
    agent_url: str = ""
    """``ECS_AGENT_URI``: the ECS agent's endpoint, which the agent itself sets; asked for protection from scale-in while
    there is work. Without it nothing is asked."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises SettingsError, naming every mistake."""
        read = _Reader(env)
        settings = cls(
            **_common(read),
            inbox_queue_url=read.address("INBOX_QUEUE_URL"),
            emails_bucket=read.text("EMAILS_BUCKET"),
            emails_prefix=read.text("EMAILS_PREFIX", "emails/"),
            concurrency=read.integer("WORKER_CONCURRENCY", 128, 1, 256),
            wait_seconds=read.integer("WORKER_WAIT_SECONDS", 5, 0, SQS_LONGEST_POLL_SECONDS),
            visibility_timeout_seconds=read.integer(
                "VISIBILITY_TIMEOUT_SECONDS", 60, 3, SQS_LONGEST_VISIBILITY_SECONDS
            ),
            stop_timeout_seconds=read.seconds("STOP_TIMEOUT_SECONDS", 60.0, 1, 3600),
            agent_url=read.text("ECS_AGENT_URI", ""),
        )
        if settings.wait_seconds >= settings.stop_timeout_seconds:
            read.mistakes.append(
                f"WORKER_WAIT_SECONDS is {settings.wait_seconds}; allowed: less than STOP_TIMEOUT_SECONDS, "
                f"which is {settings.stop_timeout_seconds:g}"
            )
        read.finish()
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings(_Common):
    """What ``python -m service sweep`` needs to know."""

    files_dir: Path
    """``FILES_DIR``: the directory of the file store. Required."""
    min_age_seconds: float = 86_400.0
    """``SWEEP_MIN_AGE_SECONDS``: a part of an upload that nobody has written to for so long is removed. Keep it above
    the longest an upload may take (12 hours), or a slow upload loses its part."""
    verify_bytes: int = 0
    """``SWEEP_VERIFY``: how much of the stored files each sweep reads back, to compare it with the SHA-256 that it was
    stored with: ``off``, ``all``, or a size such as ``10GiB``, from where the sweep before has ended. EFS charges reads."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises SettingsError, naming every mistake."""
        read = _Reader(env)
        settings = cls(
            **_common(read),
            files_dir=read.directory("FILES_DIR"),
            min_age_seconds=read.seconds("SWEEP_MIN_AGE_SECONDS", 86_400.0, 0, 365 * 86_400),
            verify_bytes=read.size_a_run("SWEEP_VERIFY"),
        )
        read.finish()
        return settings


class _CommonFields(TypedDict):
    region: str
    log_level: str
    metrics_seconds: float
    metrics_namespace: str
    port: int


def _common(read: _Reader) -> _CommonFields:
    return {
        "region": read.region("AWS_REGION"),
        "log_level": read.text("LOG_LEVEL", "info", choices=LOG_LEVELS),
        "metrics_seconds": read.seconds("METRICS_SECONDS", 60.0, 0.1, 3600),
        "metrics_namespace": read.text("METRICS_NAMESPACE", METRICS_NAMESPACE),
        "port": read.integer("PORT", 8080, 1, 65_535),
    }
