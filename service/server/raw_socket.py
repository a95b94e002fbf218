"""A connection as threads see it: files and bodies pass between it and the disk without the event loop.

A client that keeps pace is served by one thread in one go. For one that doesn't, the thread leaves, and the loop waits.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable

from service.server.extensions import Write

# What one call of sendfile is asked for; more gains nothing.
CALL_BYTES = 2 * 1024 * 1024
# What is received before it is passed on: more would not stay in the processor's cache until it is.
PIECE_BYTES = 256 * 1024
# What one call copies where sendfile can't.
COPY_BYTES = 64 * 1024
# How long a thread waits for the socket before it leaves that to the loop, which costs two switches between threads, and
# how long it goes on with one client before others get their turn.
PATIENCE_SECONDS = 0.003
VISIT_SECONDS = 0.03
# A loop that waits for a slow sender is not woken for less; the kernel collects it meanwhile.
WAKE_BYTES = 64 * 1024

# Not on every system that has sendfile. Without it, what is sent leaves in small packets, one for each few pages.
_CORK: int | None = getattr(socket, "TCP_CORK", None)
# sendfile(2): a file of a kind that can't be read so.
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class PeerGone(Exception):
    """The client has gone. No ConnectionError: while a body is received, that comes from a file that lies on a network."""


class _Buffer(threading.local):
    """Received bytes on their way to the disk: one for each thread, whatever the number of clients."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(PIECE_BYTES))


_buffer = _Buffer()


class RawSocket:
    """Used by one thread at a time, and closed by the loop.

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
        """How many bytes of the body have been taken from the connection and passed on."""
        self._is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
        self._visiting = threading.Lock()
        self._closed = False
        self._stopped = False
        self._wakes_at = 1
        # What is of no use any more, and is closed once no thread uses it: a visit may hang.
        self._closing: list[Callable[[], None]] = []

    def cork(self, on: bool) -> None:
        """Keeps back packets that are not full, so that what is written next leaves with what follows."""
        if _CORK is not None and self._is_tcp:
            with contextlib.suppress(OSError):  # the connection has ended, as the next call will tell
                self.socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    def wake_at(self, received: int) -> None:
        """The loop is to find the socket readable only when so many bytes wait there, or the client has gone."""
        if received != self._wakes_at:
            self._wakes_at = received
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, received)

    def stop_receiving(self) -> None:
        """Lets a visit pass on no more: from now on others read from the connection, and it would find a later part."""
        self._stopped = True

    def close(self) -> None:
        """Ends the connection now. The socket is closed now or by the visit under way, which may hang."""
        self._closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.close_later(self.socket.close)

    def close_later(self, close: Callable[[], None]) -> None:
        """Calls ``close`` now, or when the visit under way ends."""
        self._closing.append(close)
        self._tidy()

    def send(self, file: int, stop: int) -> bool:
        """Sends of ``file`` what goes without a long wait, from ``position`` to ``stop``; whether it may take more now.

        Raises PeerGone, OSError if the file can't be read, and EOFError if it ends before. For a thread.
        """
        try:
            with self._visiting:
                return self._send(file, stop)
        finally:
            self._tidy()

    def receive(self, stop: int, write: Write) -> None:
        """Hands to ``write`` what arrives without a long wait, until ``received`` is ``stop``.

        Raises PeerGone, and what ``write`` raises. For a thread.
        """
        try:
            with self._visiting:
                self._receive(stop, write)
        finally:
            self._tidy()

    def _send(self, file: int, stop: int) -> bool:
        until = time.monotonic() + VISIT_SECONDS
        descriptor = self.socket.fileno()
        while not self._closed and self.position < stop:
            try:
                sent = _send_once(descriptor, file, self.position, min(CALL_BYTES, stop - self.position))
            except BlockingIOError:
                if not (self.is_patient and _is_ready(descriptor, select.POLLOUT)):
                    return False
                continue
            except OSError as error:
                # Not every ConnectionError: others come from a file that lies on a network.
                if isinstance(error, BrokenPipeError | ConnectionResetError) or self._is_gone():
                    raise PeerGone from error
                raise
            if not sent:
                raise EOFError(f"the file ends at byte {self.position}, before {stop}")
            self.position += sent
            if time.monotonic() > until:
                break
        return True

    def _receive(self, stop: int, write: Write) -> None:
        until = time.monotonic() + VISIT_SECONDS
        while not self._closed:
            filled = self._fill(_buffer.view[: stop - self.received])
            if self._stopped:
                break
            self.received += len(filled)
            write(filled, self.received < stop)
            if self.received == stop or time.monotonic() > until:
                return
            if not filled and not _is_ready(self.socket.fileno(), select.POLLIN):
                return
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
        return view[:filled]

    def _is_gone(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return True
        return False

    def _tidy(self) -> None:
        while self._closing and self._visiting.acquire(blocking=False):
            while self._closing:
                self._closing.pop()()
            self._visiting.release()


def unsent(descriptor: int) -> int:
    """Bytes that were handed to the kernel and that the client has not taken yet; 0 where that can't be told."""
    try:
        found: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))[0]
    except (OSError, ValueError):  # the connection has ended
        return 0
    return found


def _send_once(descriptor: int, file: int, position: int, count: int) -> int:
    try:
        return os.sendfile(descriptor, file, position, count)
    except OSError as error:
        if error.errno not in _NO_SENDFILE:
            raise
    return os.write(descriptor, os.pread(file, min(count, COPY_BYTES), position))


def _is_ready(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(PATIENCE_SECONDS * 1000))
