"""What a thread finds at the other end of a connection, over real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.server import raw_socket
from service.server.raw_socket import VISIT_SECONDS, PeerGone, RawSocket, unsent

LIVENESS_SECONDS = 20.0
# More than the sockets of a connection take while nobody reads.
LARGE = 24 * 1024 * 1024


@dataclass
class Link:
    raw: RawSocket
    client: socket.socket


@pytest.fixture
def link() -> Iterator[Link]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=LIVENESS_SECONDS)
        near, _ = listener.accept()
    near.setblocking(False)
    raw = RawSocket(near)
    with client:
        yield Link(raw, client)
    raw.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "content"
    path.touch()
    os.truncate(path, LARGE)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


class _Sink:
    """Keeps what is written, and what was said of it."""

    def __init__(self) -> None:
        self.content = b""
        self.more_body = True

    def write(self, piece: memoryview, more_body: bool) -> None:
        self.content += piece
        self.more_body = more_body


def test_a_client_that_is_cut_off_from_the_network_is_taken_for_gone_and_not_for_a_fault(link: Link, file: int) -> None:
    """The kernel then ends the connection with ETIMEDOUT, as a file on a network may fail too."""
    link.raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
    until = time.monotonic() + LIVENESS_SECONDS
    with pytest.raises(PeerGone) as gone:
        while time.monotonic() < until:
            link.raw.send(file, LARGE)
    assert isinstance(gone.value.__cause__, TimeoutError)


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.ECONNABORTED, errno.ENOTCONN, errno.EIO])
def test_a_file_that_fails_is_a_fault_however_its_error_reads(
    link: Link, file: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sendfile", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        link.raw.send(file, LARGE)


def test_a_file_that_ends_before_is_a_fault(link: Link, file: int) -> None:
    link.raw.position = LARGE
    with pytest.raises(EOFError, match=f"ends at byte {LARGE}"):
        link.raw.send(file, LARGE + 1)


def test_where_the_file_system_has_no_sendfile_the_bytes_are_copied(link: Link) -> None:
    content = Path("/proc/self/environ").read_bytes()  # can be read like a file, but not spliced
    descriptor = os.open("/proc/self/environ", os.O_RDONLY)
    link.raw.position = 2
    assert link.raw.send(descriptor, 12)
    os.close(descriptor)
    assert link.client.recv(100) == content[2:12]


@contextlib.contextmanager
def _writing(link: Link) -> Iterator[tuple[Future[None], threading.Event]]:
    """A thread that has received four bytes of 100 and writes them until it may go on."""
    writing, go_on = threading.Event(), threading.Event()

    def write(piece: memoryview, _: bool) -> None:
        if piece:
            writing.set()
            assert go_on.wait(LIVENESS_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        link.client.sendall(b"some")
        visit = pool.submit(link.raw.receive, 100, write)
        assert writing.wait(LIVENESS_SECONDS)
        yield visit, go_on


def test_a_connection_that_ends_while_a_thread_writes_ends_at_once_and_is_closed_by_the_thread(link: Link) -> None:
    """A disk may hang; until it does no more, the number of the socket must not go to another connection."""
    with _writing(link) as (visit, go_on):
        link.raw.close()
        with contextlib.suppress(ConnectionError):
            assert link.client.recv(1) == b""
        assert link.raw.socket.fileno() >= 0
        go_on.set()
        assert isinstance(visit.exception(LIVENESS_SECONDS), PeerGone)
        assert link.raw.socket.fileno() < 0


def test_what_is_given_up_is_closed_when_the_thread_leaves_that_uses_it(link: Link) -> None:
    closed: list[str] = []
    with _writing(link) as (visit, go_on):
        link.raw.close_later(lambda: closed.append("in use"))
        assert closed == []
        go_on.set()
        assert visit.exception(LIVENESS_SECONDS) is None
    assert closed == ["in use"]
    link.raw.close_later(lambda: closed.append("idle"))
    assert closed == ["in use", "idle"]


@pytest.mark.parametrize("way", ["reset", "half-closed"])
def test_a_client_that_has_gone_is_told_apart_from_one_that_pauses(link: Link, way: str) -> None:
    sink = _Sink()
    link.client.sendall(b"some")
    for _ in range(2):
        link.raw.receive(100, sink.write)
        assert link.raw.received == 4
    if way == "reset":
        link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.client.close()
    else:
        link.client.shutdown(socket.SHUT_WR)
    with pytest.raises(PeerGone):
        link.raw.receive(100, sink.write)
    assert sink.content == b"some"


def test_one_whose_bytes_are_slow_to_write_goes_to_the_end_of_the_line_now_and_then(link: Link) -> None:
    sink = _Sink()

    def write(piece: memoryview, more_body: bool) -> None:
        sink.write(piece, more_body)
        link.client.sendall(b"more")
        time.sleep(VISIT_SECONDS)

    link.client.sendall(b"some")
    link.raw.receive(100, write)
    assert (sink.content, sink.more_body) == (b"some", True)
    link.raw.receive(8, sink.write)
    assert (sink.content, sink.more_body, link.raw.received) == (b"somemore", False, 8)


def test_what_was_received_counts_though_it_can_not_be_written(link: Link) -> None:
    def fail(_: memoryview, __: bool) -> None:
        raise OSError(28, "full")

    link.client.sendall(b"some")
    with pytest.raises(OSError, match="full"):
        link.raw.receive(100, fail)
    assert link.raw.received == 4


def test_what_a_client_has_not_taken_is_told_and_nothing_where_a_socket_can_not_tell(link: Link, file: int) -> None:
    assert unsent(link.raw.socket.fileno()) == 0
    while link.raw.send(file, LARGE):
        pass
    assert 0 < unsent(link.raw.socket.fileno()) <= link.raw.position
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert unsent(listener.fileno()) == 0


def test_a_socket_that_has_ended_is_corked_and_watched_in_vain(link: Link) -> None:
    link.raw.socket.close()
    link.raw.cork(True)
    link.raw.wake_at(10)
    assert raw_socket.unsent(-1) == 0
