"""A connection as threads see it: files and bodies pass between it and the disk without the event loop.

A client that keeps pace is served by one thread in one go. For one that doesn't, the thread leaves, and the loop waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable

from service.files.store import StoredFile
from service.http.conditions import ByteRange

# What one call of sendfile is asked for; more gains nothing.
CALL_BYTES = 2 * 1024 * 1024
# What is received before it is passed on: more would not stay in the processor's cache until it is.
PIECE_BYTES = 256 * 1024
# How long a thread waits for the socket before it leaves that to the loop, which costs two switches between threads, and
# how long it goes on with one client before others get their turn.
PATIENCE_SECONDS = 0.003
VISIT_SECONDS = 0.03
# A loop that waits for a slow sender is not woken for less; the kernel collects it meanwhile.
WAKE_BYTES = 64 * 1024

# Not on every system that has sendfile. Without it, what is sent leaves in small packets, one for each few pages.
_CORK: int | None = getattr(socket, "TCP_CORK", None)


class PeerGone(Exception):
    """The client has gone. No ConnectionError: while a body is received, that comes from a file that lies on a network."""


class _Buffer(threading.local):
    """Received bytes on their way to the disk: one for each thread, whatever the number of clients."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(PIECE_BYTES))


_buffer = _Buffer()


class Peer:
    """The other end of a connection. Used by one thread at a time, and closed by the loop.

    ``connection`` is a duplicate of the transport's socket: the transport may close its descriptor, and the number go to
    another connection, while a thread is still at work; and a loop refuses to watch a descriptor that belongs to a
    transport.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.position = 0
        """Up to where the file that is being sent has been sent."""
        self.is_patient = True
        self.received = 0
        """How many bytes have been taken from the connection."""
        self._is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
        self._visiting = threading.Lock()
        self._closed = False

    def cork(self, on: bool) -> None:
        if _CORK is not None and self._is_tcp:
            with contextlib.suppress(OSError):  # the connection has ended, as the next call will tell
                self.socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    def wake_at(self, received: int) -> None:
        """The loop is to find the socket readable only when so many bytes wait there, or the client has gone."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, received)

    def unsent(self) -> int:
        """Bytes that were handed to the kernel and that the client has not taken yet; 0 where that can't be told."""
        try:
            found: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        except OSError:
            return 0
        return found

    def close(self) -> None:
        """Ends the connection now. The socket is closed now or by the visit under way, which may hang."""
        self._closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._close_unless_visited()

    def send(self, file: StoredFile, stop: int, *, is_last: bool) -> bool:
        """Sends of ``file`` what goes without a long wait, from ``position`` to ``stop``; whether it may take more now.

        Raises PeerGone, and what ``StoredFile.send`` raises. ``file`` is closed at the end
        of the last part. For a thread.
        """
        try:
            with self._visiting:
                return self._send(file, stop, is_last)
        finally:
            if self._closed:
                self._close_unless_visited()

    def receive(self, wanted: int, write: Callable[[memoryview], object]) -> memoryview | None:
        """Hands to ``write`` what arrives without a long wait, up to ``wanted`` bytes; ``received`` counts them.

        The last piece of what was wanted is returned instead; it lasts until this thread's next call. Raises PeerGone,
        and what ``write`` raises. For a thread.
        """
        try:
            with self._visiting:
                return self._receive(wanted, write)
        finally:
            if self._closed:
                self._close_unless_visited()

    def _send(self, file: StoredFile, stop: int, is_last: bool) -> bool:
        until = time.monotonic() + VISIT_SECONDS
        descriptor = self.socket.fileno()
        while not self._closed:
            try:
                most = min(stop, self.position + CALL_BYTES)
                self.position += file.send(descriptor, ByteRange(self.position, most))
            except BlockingIOError:
                if not (self.is_patient and _is_ready(descriptor, select.POLLOUT)):
                    return False
            except OSError as error:
                # Not every ConnectionError: others come from a file that lies on a network.
                if isinstance(error, BrokenPipeError | ConnectionResetError) or self._is_gone():
                    raise PeerGone from error
                raise
            if self.position == stop:
                if is_last:
                    self.cork(False)
                    file.close()
                return True
            if time.monotonic() > until:
                return True
        return True

    def drop(self, most: int) -> bool:
        """Receives and forgets up to ``most`` bytes of what has arrived; False if a thread is at work here.

        Raises PeerGone. Does not block.
        """
        if not self._visiting.acquire(blocking=False):
            return False
        try:
            self._fill(_buffer.view[:most])
        finally:
            self._visiting.release()
        return True

    def _receive(self, wanted: int, write: Callable[[memoryview], object]) -> memoryview | None:
        until = time.monotonic() + VISIT_SECONDS
        last = self.received + wanted
        while not self._closed:
            filled = self._fill(_buffer.view[: last - self.received])
            if self.received == last:
                return filled
            if filled:
                write(filled)
            if time.monotonic() > until:
                return None
            if not filled and not _is_ready(self.socket.fileno(), select.POLLIN):
                return None
        raise PeerGone

    def _fill(self, view: memoryview) -> memoryview:
        """The part of ``view`` that could be filled now."""
        filled = 0
        while filled < len(view):
            try:
                received = self.socket.recv_into(view[filled:])
            except BlockingIOError:
                break
            except OSError as error:
                raise PeerGone from error
            if not received:
                raise PeerGone
            filled += received
            self.received += received
        return view[:filled]

    def _is_gone(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return True
        return False

    def _close_unless_visited(self) -> None:
        if self._visiting.acquire(blocking=False):
            self.socket.close()
            self._visiting.release()


def _is_ready(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(PATIENCE_SECONDS * 1000))
