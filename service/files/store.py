"""The file store: uploads become files under final names, whole or not at all, on a local disk or on EFS.

    <root>/incoming/<process>-<n>/<m>.part   being written; no reader ever looks here, the sweep clears what is left
    <root>/0197/8a/…/<id>                    stored; see ``ids`` for the directories and ``record`` for a file's last bytes

An upload is written to a part, synced, linked under its id, and the directory synced; only then is it reported stored.
A link, unlike a rename, can't replace a file. The id is drawn just before that, so that files are listed in the order
in which they became visible, but for those stored within the same moment, or by hosts whose clocks differ: a reader who
follows the end of a listing looks again at the last minute.

On a network file system each step is a round trip, so there are few: a small upload takes six (create, write, commit,
link; close and unlink after the answer), a small download three (open, read, close). And the kernel holds a lock over
each that changes a directory: the directory's, and for a rename from one to another the whole mount's. So uploads at the
same time use directories of their own, and nothing is renamed; one directory for all would end at some 200 a second.

Everything here blocks; ``threads`` keeps it off the event loop.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from service.files import ids, listing, record
from service.files.directories import GONE, Directories, Directory
from service.files.directory_sync import DirectorySync
from service.files.parts import Parts
from service.files.record import Record
from service.files.stored_file import INLINE_BYTES, StoredFile, close, open_file

# With more uploads than this getting their names at the same time, each of which takes so long, a directory a moment is
# not enough. On a local disk it is, and then one sync of it serves many.
SPREAD_FROM = 2
SLOW_LINK_SECONDS = 0.001
# Above 64 KiB a write may allocate in large folios, which some virtual machines pay for dearly; this costs nothing.
WRITE_BYTES = 64 * 1024

# What is no regular file was not put there by this service.
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR, errno.ESPIPE)
__all__ = ["INLINE_BYTES", "DigestError", "FileStore", "Part", "PartLost", "Stored", "StoredFile"]

T = TypeVar("T")


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
        self._directories = Directories(root)
        self._sync_directory = DirectorySync(sync)
        self._ids = id_source or ids.IdSource()
        self.incoming = Parts(root)
        self._lock = threading.Lock()
        self._publishing = 0
        self._link_seconds = 0.0

    @property
    def is_local(self) -> bool:
        """Whether a change of a directory costs no round trip, going by the last upload."""
        return self._link_seconds <= SLOW_LINK_SECONDS

    def prepare(self) -> None:
        """Makes ready for uploads. To be called before the heartbeat begins.

        Raises OSError if ``root`` is missing or can't be written.
        """
        if not self.root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(self.root))
        self.incoming.prepare()

    def beat(self) -> None:
        """To be called every ``BEAT_SECONDS``: says that this process lives. Raises OSError."""
        self.incoming.beat()

    def clean(self) -> None:
        """To be called every ``BEAT_SECONDS``: removes the parts of processes that were killed. Raises OSError."""
        self.incoming.clean()

    def close(self) -> None:
        """Removes what ``prepare`` made, unless parts are left, and closes what is held open."""
        self.incoming.close()
        self._directories.close()

    def probe(self) -> None:
        """Raises OSError unless uploads can be written: what can only be read is not ready for them.

        A heartbeat more: the one write that asks the file system itself, past every cache, and takes no room. On EFS it
        is one round trip and moves no data. A full file system passes, since it must still serve downloads.
        """
        self.incoming.beat()

    def begin(self, content_type: str, content_encoding: str = "") -> Part:
        """A new upload. Does no I/O yet. Raises ValueError for a content type and encoding too long to keep."""
        record.check(content_type, content_encoding)
        return Part(self, content_type, content_encoding)

    def open(self, file_id: str, *, read_all_up_to: int = INLINE_BYTES) -> StoredFile:
        """Opens a stored file, reading it too if that is cheap.

        Raises FileNotFoundError where there is no regular file of that name, DamagedFile or another OSError.
        """
        with _only_files(file_id):
            return self._in_directory(file_id, lambda directory: open_file(file_id, directory, read_all_up_to))

    def describe(self, file_id: str) -> StoredFile:
        """``open`` for who needs the record only: the file is closed again, and ``content`` is empty."""
        with self.open(file_id, read_all_up_to=0) as file:
            return StoredFile(file_id, file.record, -1, b"")

    def remove(self, file_id: str, check: Callable[[Record], None] | None = None) -> None:
        """Removes a stored file; durable on return. ``check`` may refuse by raising. Raises FileNotFoundError."""
        if check is not None:
            check(self.describe(file_id).record)

        with _only_files(file_id):
            self._unlink(file_id)
            # Gone with its directory, when another process has pruned that meanwhile.
            with contextlib.suppress(FileNotFoundError):
                self._in_directory(file_id, self._sync_directory)
        self._prune(file_id)

    def page(self, after: str | None, limit: int) -> list[str]:
        """Up to ``limit`` ids, oldest first, beginning after the id ``after`` (which need not exist any more)."""
        return list(itertools.islice(listing.walk(self.root, after), limit))

    def publish(self, part: str, descriptor: int) -> str:
        """Gives the file at ``part``, open as ``descriptor``, complete and synced, its name; durable on return.

        Raises OSError; the file has no name then, as far as that could be seen to.
        """
        with self._lock:
            self._publishing += 1
            spread = self._publishing > SPREAD_FROM and not self.is_local
        try:
            return self._publish(part, descriptor, self._ids.next(spread=spread))
        finally:
            with self._lock:
                self._publishing -= 1

    def _publish(self, part: str, descriptor: int, file_id: str) -> str:
        steps = ids.directory(file_id)
        try:
            directory = self._directories.make(steps, self.sync)
            began = time.monotonic()
            _link(part, file_id, directory, descriptor)
            self._link_seconds = time.monotonic() - began
        except OSError as error:
            if error.errno not in GONE:
                raise
            # Another process has pruned the directory after its last file was deleted, or one above it.
            self._directories.forget(steps)
            directory = self._directories.make(steps, self.sync)
            _link(part, file_id, directory, descriptor)
        try:
            try:
                self._sync_directory(directory)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                self._directories.forget(steps)
                directory = self._directories.get(steps)
                # Only if it is the directory that has the name.
                if not _is_same(file_id, directory, descriptor):
                    raise
                self._sync_directory(directory)
        except BaseException:
            with contextlib.suppress(OSError):
                self._unlink(file_id)
            raise
        return file_id

    def _unlink(self, file_id: str) -> None:
        self._in_directory(file_id, lambda directory: os.unlink(file_id, dir_fd=directory.descriptor))

    def _in_directory(self, file_id: str, action: Callable[[Directory], T]) -> T:
        steps = ids.directory(file_id)
        try:
            return action(self._directories.get(steps))
        except OSError as error:
            # Its directory, held open here, may have been removed since and made again; or, on a network file system,
            # be known to the server no more.
            if error.errno not in GONE:
                raise
            self._directories.forget(steps)
            return action(self._directories.get(steps))

    def _prune(self, file_id: str) -> None:
        """Removes directories that are empty now, so that a page of a listing never walks through deleted history."""
        steps = ids.directory(file_id)
        # The directories of this moment are left alone: a writer is about to need them.
        while steps and not self._ids.stamp().startswith("".join(steps)[: ids.TIME_DIGITS]):
            try:
                self.root.joinpath(*steps).rmdir()
            except OSError:
                return
            self._directories.forget(steps)
            steps = steps[:-1]


@contextlib.contextmanager
def _only_files(file_id: str) -> Iterator[None]:
    """Something that is no regular file, or a link on the way to it, was not put there by this service."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_FILE:
            raise FileNotFoundError(errno.ENOENT, "no regular file", file_id) from error
        raise


class Part:
    """An upload under way. Used by one request at a time, from any thread; each step waits for the one before."""

    def __init__(self, store: FileStore, content_type: str, content_encoding: str) -> None:
        self.begun = False
        """Whether a step was handed to a thread, so that there may be something to discard."""
        self._store = store
        self._path = ""
        self._slot = -1
        self._content_type = content_type
        self._content_encoding = content_encoding
        self._lock = threading.Lock()
        self._descriptor = -1
        self._abandoned = False
        self._discarded = False
        self._ended = False
        self._file_id: str | None = None
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Appends ``chunks``. Raises OSError, or PartLost after ``abandon``."""
        try:
            with self._lock:
                self._append(chunks, b"")
        finally:
            if self._discarded:
                self._tidy()

    def publish(self, chunks: Iterable[bytes | memoryview], sha256: bytes | None = None) -> Stored:
        """Appends ``chunks``, makes everything durable and gives it its name.

        ``sha256`` is what the content must hash to, if anything was promised. Raises DigestError, OSError or PartLost;
        nothing is stored then. On return the file is stored, even if the power fails now. ``discard`` must follow.
        """
        try:
            with self._lock:
                chunks = list(chunks)
                for chunk in chunks:
                    self._hash.update(chunk)
                digest = self._hash.digest()
                if sha256 is not None and sha256 != digest:
                    raise DigestError(digest)
                size = self._size + sum(map(len, chunks))
                content = Record(size, digest.hex(), self._content_type, self._content_encoding)
                self._append(chunks, record.encode(content), hashed=True)
                self._store.sync(self._descriptor)
                if self._abandoned:
                    raise PartLost
                self._file_id = self._store.publish(self._path, self._descriptor)
                # On a network file system this is left for after the answer: two more round trips, of which nothing
                # depends.
                if self._store.is_local and not self._abandoned:
                    self._close()
                return Stored(self._file_id, content)
        finally:
            if self._discarded:
                self._tidy()

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to discard."""
        return not self.begun or (self._ended and not self._abandoned)

    def abandon(self) -> None:
        """Says that nobody will hear whether this is stored: what a step that hangs now stores later is not kept."""
        self._abandoned = True

    def discard(self) -> None:
        """Closes the part and removes it if it isn't stored; if ``abandon`` was called, the stored file too.

        Now, or when the step under way ends: that may hang, and one thread is all that an upload may cost.
        """
        self._discarded = True
        self._tidy()

    def _tidy(self) -> None:
        while self._discarded and self._lock.acquire(blocking=False):
            try:
                self._discarded = False
                self._close()
                if self._file_id is not None and self._abandoned:
                    with contextlib.suppress(OSError):
                        self._store.remove(self._file_id)
            finally:
                self._lock.release()

    def _close(self) -> None:
        self._ended = True
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)
        if self._path:
            path, self._path = self._path, ""
            self._store.incoming.release(self._slot)
            try:  # noqa: SIM105  a context manager is four calls more, for each small upload
                os.unlink(path)  # noqa: PTH108  a Path is made in the time of three system calls
            except OSError:
                pass

    def _append(self, chunks: Iterable[bytes | memoryview], end: bytes, *, hashed: bool = False) -> None:
        if self._abandoned or self._ended:
            raise PartLost
        if self._descriptor < 0:
            self._descriptor, self._path, self._slot = self._store.incoming.create()
        for chunk in chunks:
            if not hashed:
                self._hash.update(chunk)
            self._size += len(chunk)
        _write(self._descriptor, [*chunks, end])


def _link(part: str, file_id: str, directory: Directory, descriptor: int) -> None:
    try:
        os.link(part, file_id, dst_dir_fd=directory.descriptor)
    except FileExistsError:
        # NFS repeats a request whose answer was lost; the second answer to a link that worked is EEXIST.
        if not _is_same(file_id, directory, descriptor):
            raise


def _is_same(file_id: str, directory: Directory, descriptor: int) -> bool:
    found = os.stat(file_id, dir_fd=directory.descriptor, follow_symlinks=False)
    return os.path.samestat(found, os.fstat(descriptor))


def _write(descriptor: int, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes ``pieces`` one after the other, small ones together: each call is a round trip."""
    together: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > WRITE_BYTES:
            _write_all(descriptor, together)
            together, size = [], 0
        together.append(piece)
        size += len(piece)
    _write_all(descriptor, together)


def _write_all(descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
    view = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
    while view:
        view = view[os.write(descriptor, view[:WRITE_BYTES]) :]
