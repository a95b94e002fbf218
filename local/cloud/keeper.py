"""Keeps objects, messages and parameter values over restarts of the embedded AWS.

A call that has been answered with success is on disk before the answer goes out, so that killing the local stack loses
nothing that it had accepted. Buckets, queues and parameters themselves are not kept here: the engine's state has them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from local.cloud.contents import Contents, Item
from local.cloud.queues import queue_name
from local.cloud.request import CloudRequest, SignedScope

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    kind TEXT NOT NULL, container TEXT NOT NULL, name TEXT NOT NULL, fields TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (kind, container, name)
)
"""


class Keeper:
    """`file` is an SQLite database. Nothing is kept before `restore()` has put back what was there."""

    def __init__(self, file: Path, contents: Contents) -> None:
        self._contents = contents
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        # The write-ahead log with its default syncing survives the death of the process at any instant.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(_SCHEMA)
        self._kept: dict[tuple[str, str], set[str]] = {}
        self._ready = False

    def restore(self) -> dict[str, int]:
        """Puts back everything whose container exists, forgets the rest, and begins to keep. Counts by kind."""
        counts: dict[str, int] = {}
        with self._lock:
            if self._ready:
                return counts
            for kind, container, name, fields, content in self._database.execute(
                "SELECT kind, container, name, fields, content FROM items ORDER BY rowid"
            ).fetchall():
                if self._put_back(kind, container, name, Item(fields, content)):
                    self._kept.setdefault((kind, container), set()).add(name)
                    counts[kind] = counts.get(kind, 0) + 1
                else:
                    self._forget(kind, container, [name])
            self._ready = True
        return counts

    def after(self, request: CloudRequest, scope: SignedScope) -> None:
        """Keeps what a successful request may have changed."""
        if not self._ready:
            return
        match scope.service:
            case "s3" if request.method in {"PUT", "POST", "DELETE"}:
                self._keep_objects(request)
            case "sqs":
                for queue in self._contents.queues_behind(queue_name(request)):
                    self._keep_messages(queue)
            case "ssm" if (request.target or request.form.get("Action", "")).startswith(("Put", "Delete", "Label")):
                names = request.json.get("Names") or [request.json.get("Name", "")]
                self._keep_parameters(names)

    def _put_back(self, kind: str, container: str, name: str, item: Item) -> bool:
        if kind == "object" and self._contents.bucket_exists(container):
            self._contents.write_object(container, name, item)
        elif kind == "message" and self._contents.queue_exists(container):
            self._contents.write_message(container, name, item)
        elif kind == "parameter" and self._contents.parameter_exists(name):
            self._contents.write_parameter(name, item)
        else:
            return False
        return True

    def _keep_objects(self, request: CloudRequest) -> None:
        bucket, _, key = request.path.lstrip("/").partition("/")
        with self._lock:
            kept = self._kept.setdefault(("object", bucket), set())
            # A request on the bucket itself may delete many objects, or the bucket.
            present = set(self._contents.object_keys(bucket)) if not key else {key}
            for name in present:
                item = self._contents.read_object(bucket, name) if key or name not in kept else None
                if item is not None:
                    self._save("object", bucket, name, item)
                    kept.add(name)
                elif key:
                    self._forget("object", bucket, [name])
                    kept.discard(name)
            if not key:
                self._forget("object", bucket, kept - present)
                kept &= present

    def _keep_messages(self, queue: str) -> None:
        with self._lock:
            kept = self._kept.setdefault(("message", queue), set())
            present = set(self._contents.message_ids(queue))
            if present == kept:
                return
            self._database.execute("BEGIN")
            for name, item in self._contents.read_messages(queue, present - kept).items():
                self._save("message", queue, name, item)
            self._forget("message", queue, kept - present)
            self._database.execute("COMMIT")
            self._kept[("message", queue)] = present

    def _keep_parameters(self, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                item = self._contents.read_parameter(name)
                if item is None:
                    self._forget("parameter", "", [name])
                else:
                    self._save("parameter", "", name, item)

    def _save(self, kind: str, container: str, name: str, item: Item) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", (kind, container, name, item.fields, item.content)
        )

    def _forget(self, kind: str, container: str, names: Iterable[str]) -> None:
        self._database.executemany(
            "DELETE FROM items WHERE kind = ? AND container = ? AND name = ?", [(kind, container, n) for n in names]
        )
