"""The file store: uploads become files under final names, whole or not at all, on a local disk or on EFS.

    <root>/incoming/<process>/<n>.part   being written; no reader ever looks here, the sweep clears what is left over
    <root>/0197/8a/…/<id>                stored; see ``ids`` for the directories and ``record`` for a file's last bytes

An upload is written to a part, synced, linked under its id, and the directory synced; only then is it reported stored.
A link, unlike a rename, can't replace a file. The id is drawn at that last moment, so that a reader who pages through a
listing, oldest first, meets files in the order in which they became visible.

Everything here blocks; ``threads`` keeps it off the event loop.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from service import ids, listing, record
from service.conditions import Span
from service.record import DamagedFile, Record

INCOMING = "incoming"
# Above 64 KiB a write may allocate in large folios, which some virtual machines pay for dearly; this costs nothing.
WRITE_BYTES = 64 * 1024
# A download up to this size is read in the same visit to a thread that opens the file.
INLINE_BYTES = 256 * 1024

_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OPEN_READ = os.O_RDONLY | os.O_CLOEXEC


class DigestError(Exception):
    """The content's SHA-256 is not the one promised; ``actual`` is what arrived, 32 bytes."""

    def __init__(self, actual: bytes) -> None:
        super().__init__("the content does not match the SHA-256 promised")
        self.actual = actual


class PartLost(Exception):
    """The upload was given up before this step."""


@dataclass(frozen=True, slots=True)
class Stored:
    file_id: str
    record: Record


class FileStore:
    """Files under ``root``. Several processes may use one root at the same time.

    ``sync`` makes a file or directory, given as a descriptor, durable; it is an argument so that a test can see the
    order of things.
    """

    def __init__(
        self, root: Path, *, id_source: ids.IdSource | None = None, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self.root = root
        self.sync = sync
        self._ids = id_source or ids.IdSource()
        self._incoming = root / INCOMING / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._part_numbers = itertools.count(1)
        self._known: set[tuple[str, ...]] = set()

    def prepare(self) -> None:
        """Makes the directory for this process's parts. Raises OSError if ``root`` is missing or can't be written."""
        if not self.root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(self.root))
        self._incoming.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Removes this process's directory for parts, if no part is in it."""
        with contextlib.suppress(OSError):
            self._incoming.rmdir()

    def probe(self) -> None:
        """Asks the file system itself, past every cache, and raises OSError if it doesn't answer well.

        It writes nothing: a full file system must still serve downloads.
        """
        os.statvfs(self.root)

    def begin(self, content_type: str) -> Part:
        """A new upload. Does no I/O yet. Raises ValueError for a content type too long to keep."""
        record.encode(Record(size=2**63, sha256="0" * 64, content_type=content_type))
        return Part(self, self._incoming / f"{next(self._part_numbers)}.part", content_type)

    def open(self, file_id: str, *, read_all_up_to: int = INLINE_BYTES) -> StoredFile:
        """Opens a stored file, reading it too if that is cheap. Raises FileNotFoundError or DamagedFile."""
        descriptor = os.open(self._path(file_id), _OPEN_READ)
        try:
            stored_bytes = os.fstat(descriptor).st_size
            whole = b""
            if stored_bytes <= read_all_up_to + record.SIZE:
                whole = _read(descriptor, 0, stored_bytes)
            begin = max(0, stored_bytes - record.SIZE)
            tail = whole[begin:] if whole else _read(descriptor, begin, record.SIZE)
            try:
                found = record.decode(tail, stored_bytes)
            except DamagedFile as error:
                raise DamagedFile(f"{file_id}: {error}") from error
        except BaseException:
            os.close(descriptor)
            raise
        content = whole[: found.size] if whole else None
        file = StoredFile(file_id, found, descriptor, content)
        if content is not None:
            file.close()
        return file

    def describe(self, file_id: str) -> StoredFile:
        """``open`` for who needs the record only: the file is closed again, and ``content`` is empty."""
        with self.open(file_id, read_all_up_to=0) as file:
            return StoredFile(file_id, file.record, -1, b"")

    def remove(self, file_id: str, check: Callable[[Record], None] | None = None) -> None:
        """Removes a stored file; durable on return. ``check`` may refuse by raising. Raises FileNotFoundError."""
        if check is not None:
            check(self.describe(file_id).record)
        path = self._path(file_id)
        path.unlink()
        self._sync_directory(path.parent)
        self._prune(file_id)

    def page(self, after: str | None, limit: int) -> list[str]:
        """Up to ``limit`` ids, oldest first, beginning after the id ``after`` (which need not exist any more)."""
        return list(itertools.islice(listing.walk(self.root, after), limit))

    def publish(self, part: Path) -> str:
        """Gives the file at ``part``, complete and synced, its name; durable on return."""
        file_id = self._ids.next()
        path = self._path(file_id)
        steps = ids.directory(file_id)
        if steps not in self._known:
            self._make_directories(steps)
        try:
            self._link(part, path)
        except FileNotFoundError:
            # Another process has pruned the directory after its last file was deleted.
            self._make_directories(steps)
            self._link(part, path)
        self._sync_directory(path.parent)
        return file_id

    def _path(self, file_id: str) -> Path:
        return self.root.joinpath(*ids.directory(file_id), file_id)

    def _link(self, part: Path, path: Path) -> None:
        try:
            os.link(part, path)
        except FileExistsError:
            # NFS repeats a request whose answer was lost; the second answer to a link that worked is EEXIST.
            if not path.samefile(part):
                raise

    def _make_directories(self, steps: tuple[str, ...]) -> None:
        parent = self.root
        for step in steps:
            path = parent / step
            with contextlib.suppress(FileExistsError):
                path.mkdir()
            # Also when it was there: the process that made it may not have synced it yet.
            self._sync_directory(parent)
            parent = path
        if len(self._known) > 64:
            self._known.clear()
        self._known.add(steps)

    def _sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def _prune(self, file_id: str) -> None:
        """Removes directories that are empty now, so that a page of a listing never walks through deleted history."""
        steps = ids.directory(file_id)
        # The directories of this moment are left alone: a writer is about to need them.
        while steps and not self._ids.stamp().startswith("".join(steps)):
            try:
                self.root.joinpath(*steps).rmdir()
            except OSError:
                return
            self._known.discard(steps)
            steps = steps[:-1]


class Part:
    """An upload under way. Used by one request at a time, from any thread; each step waits for the one before."""

    def __init__(self, store: FileStore, path: Path, content_type: str) -> None:
        self._store = store
        self._path = path
        self._content_type = content_type
        self._lock = threading.Lock()
        self._descriptor = -1
        self._created = False
        self._discarded = False
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunks: Iterable[bytes]) -> None:
        """Appends ``chunks``. Raises OSError, or PartLost after ``discard``."""
        with self._lock:
            self._append(chunks)

    def publish(self, chunks: Iterable[bytes], sha256: bytes | None = None) -> Stored:
        """Appends ``chunks``, makes everything durable and gives it its name.

        ``sha256`` is what the content must hash to, if anything was promised. Raises DigestError, OSError or PartLost;
        nothing is stored then. On return the file is stored, even if the power fails now. ``discard`` must follow.
        """
        with self._lock:
            self._append(chunks)
            digest = self._hash.digest()
            if sha256 is not None and sha256 != digest:
                raise DigestError(digest)
            content = Record(size=self._size, sha256=digest.hex(), content_type=self._content_type)
            _write(self._descriptor, record.encode(content))
            self._store.sync(self._descriptor)
            # A network file system may report a failed write only here.
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
            return Stored(self._store.publish(self._path), content)

    def discard(self) -> None:
        """Removes the part: the upload is given up or, after ``publish``, has its own name."""
        with self._lock:
            if self._discarded:
                return
            self._discarded = True
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(self._descriptor)
            if self._created:
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def _append(self, chunks: Iterable[bytes]) -> None:
        if self._discarded:
            raise PartLost
        if self._descriptor < 0:
            self._descriptor = self._create()
            self._created = True
        for chunk in chunks:
            _write(self._descriptor, chunk)
            self._hash.update(chunk)
            self._size += len(chunk)

    def _create(self) -> int:
        try:
            return os.open(self._path, _OPEN_NEW, 0o600)
        except FileNotFoundError:
            # The sweep removes a process's directory once it has been empty and idle for long.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, _OPEN_NEW, 0o600)


class StoredFile:
    """A stored file. ``content`` is all of it, the file being closed, or None while it is open for ``read``."""

    def __init__(self, file_id: str, found: Record, descriptor: int, content: bytes | None) -> None:
        self.file_id = file_id
        self.record = found
        self.content = content
        self._descriptor = descriptor
        # A read that nobody waits for any more may still be under way when the file is closed; without this, the
        # descriptor's number could by then belong to another file.
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def read(self, span: Span) -> bytes:
        """The bytes of ``span``, which lies within the content. Raises DamagedFile if they are gone."""
        if self.content is not None:
            return self.content[span.start : span.stop]
        with self._lock:
            found = _read(self._descriptor, span.start, span.length)
        if len(found) != span.length:
            raise DamagedFile(f"{self.file_id}: cut short while it was read")
        return found

    def close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def __enter__(self) -> StoredFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A request that is cancelled while a thread opens the file never gets to see it.
        self.close()


def _read(descriptor: int, start: int, length: int) -> bytes:
    found = os.pread(descriptor, length, start)
    while found and len(found) < length:
        more = os.pread(descriptor, length - len(found), start + len(found))
        if not more:
            break
        found += more
    return found


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view[:WRITE_BYTES]) :]
