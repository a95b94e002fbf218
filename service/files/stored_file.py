"""A stored file, open to be read: whole where it is small, else in byte ranges or straight into a socket."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time

from service.files import record
from service.files.directories import Directory
from service.files.record import DamagedFile, Record
from service.http.conditions import ByteRange

# A download up to this size is read in the same visit to a thread that opens the file.
INLINE_BYTES = 256 * 1024
# What is read before the size is known: most files are small, and one read that comes back short tells it too.
FIRST_READ_BYTES = 16 * 1024
# Opening and reading a small file takes longer only on a network, or on a disk that is busy.
QUICK_SECONDS = 0.0005

# What is no regular file was not put there by this service: a link is not followed, a FIFO not waited for.
_OPEN_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_file(file_id: str, directory: Directory, read_all_up_to: int) -> StoredFile:
    """Opens a file of the store, reading it too if it is small: at most ``read_all_up_to`` bytes, none of it for 0.

    Raises OSError, also where there is something else than a regular file, or DamagedFile.
    """
    began = time.monotonic()
    descriptor = os.open(file_id, _OPEN_READ, dir_fd=directory.descriptor)
    keep = False
    try:
        whole = os.pread(descriptor, FIRST_READ_BYTES, 0) if read_all_up_to else b""
        stored_bytes = len(whole)
        if not 0 < stored_bytes < FIRST_READ_BYTES:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "no regular file", file_id)
            stored_bytes = status.st_size
            content: bytes | None = None
            tail = _read(descriptor, max(0, stored_bytes - record.SIZE), record.SIZE)
        else:
            content, tail = whole[: -record.SIZE], whole[-record.SIZE :]
        try:
            found = record.decode(tail, stored_bytes)
        except DamagedFile as error:
            raise DamagedFile(f"{file_id}: {error}") from error
        if content is None and 0 < found.size <= read_all_up_to:
            # Not cut out of a read of the whole: that would copy it.
            content = _read(descriptor, 0, found.size)
        # Where closing is a round trip too, it is left for after the answer.
        keep = content is None or time.monotonic() - began > QUICK_SECONDS
        return StoredFile(file_id, found, descriptor if keep else -1, content)
    finally:
        if not keep:
            close(descriptor)


class StoredFile:
    """A stored file, to be closed. ``content`` is all of it, or None where it is to be read in spans."""

    def __init__(self, file_id: str, found: Record, descriptor: int, content: bytes | None) -> None:
        self.file_id = file_id
        self.record = found
        self.content = content
        self._descriptor = descriptor
        # A read that nobody waits for any more may still be under way when the file is closed; without this, the
        # descriptor's number could by then belong to another file.
        self._lock = threading.Lock()
        self._closing = False

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``, which lies within a content that is not read yet. Raises DamagedFile if they are gone."""
        try:
            with self._lock:
                found = _read(self._descriptor, span.start, span.length)
        finally:
            if self._closing:
                self._tidy()
        if len(found) != span.length:
            raise DamagedFile(f"{self.file_id}: cut short while it was read")
        return found

    def fileno(self) -> int:
        """For who sends the file without a copy; of no use after ``close``."""
        return self._descriptor

    def close(self) -> None:
        """Now, or when the read under way ends: that may hang, and one thread is all that a download may cost."""
        self._closing = True
        self._tidy()

    def _tidy(self) -> None:
        while self._closing and self._lock.acquire(blocking=False):
            self._closing = False
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                close(descriptor)
            self._lock.release()

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


def close(descriptor: int) -> None:
    # On a network file system this may report what someone else's write has come to.
    try:  # noqa: SIM105  a context manager is four calls more, for each small upload
        os.close(descriptor)
    except OSError:
        pass
