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

from service.files.record import Record
from service.files.store import StoredFile
from service.http.conditions import ByteRange
from service.server.peer import VISIT_SECONDS, Peer, PeerGone
from tests.service.harness import LIVENESS_SECONDS, wait_until

# More than the sockets of a connection take while nobody reads.
LARGE = 24 * 1024 * 1024


@dataclass
class Link:
    peer: Peer
    client: socket.socket


@pytest.fixture
def link() -> Iterator[Link]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=LIVENESS_SECONDS)
        near, _ = listener.accept()
    near.setblocking(False)
    peer = Peer(near)
    with client:
        yield Link(peer, client)
    peer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "content"
    found.touch()
    os.truncate(found, LARGE)
    return found


def _open(path: Path, kind: type[StoredFile] = StoredFile) -> StoredFile:
    return kind("x", Record(LARGE, "", ""), os.open(path, os.O_RDONLY), None)


def test_a_client_that_is_cut_off_from_the_network_is_taken_for_gone_and_not_for_a_fault(
    link: Link, path: Path
) -> None:
    """The kernel then ends the connection with ETIMEDOUT, as a file on a network may fail too."""
    link.peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
    until = time.monotonic() + LIVENESS_SECONDS
    with _open(path) as file:
        with pytest.raises(PeerGone) as gone:
            while time.monotonic() < until:
                link.peer.send(file, LARGE, is_last=True)
        assert isinstance(gone.value.__cause__, TimeoutError)
        assert not file.closed


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.ECONNABORTED, errno.ENOTCONN, errno.EIO])
def test_a_file_that_fails_is_a_fault_however_its_error_reads(link: Link, path: Path, number: int) -> None:
    class Failing(StoredFile):
        def send(self, socket_descriptor: int, span: ByteRange) -> int:
            raise OSError(number, os.strerror(number))

    with _open(path, Failing) as file, pytest.raises(OSError, match=os.strerror(number)):
        link.peer.send(file, LARGE, is_last=True)


@contextlib.contextmanager
def _writing(link: Link) -> Iterator[tuple[Future[memoryview | None], threading.Event]]:
    """A thread that has received four bytes of 100 and writes them until it may go on."""
    writing, go_on = threading.Event(), threading.Event()

    def write(_: memoryview) -> None:
        writing.set()
        assert go_on.wait(LIVENESS_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        link.client.sendall(b"some")
        visit = pool.submit(link.peer.receive, 100, write)
        assert writing.wait(LIVENESS_SECONDS)
        yield visit, go_on


def test_a_connection_that_ends_while_a_thread_writes_ends_at_once_and_is_closed_by_the_thread(link: Link) -> None:
    """A disk may hang; until it does no more, the number of the socket must not go to another connection."""
    with _writing(link) as (visit, go_on):
        link.peer.close()
        with contextlib.suppress(ConnectionError):
            assert link.client.recv(1) == b""
        assert link.peer.socket.fileno() >= 0
        go_on.set()
        assert isinstance(visit.exception(LIVENESS_SECONDS), PeerGone)
        assert link.peer.socket.fileno() < 0


@pytest.mark.parametrize("way", ["reset", "half-closed"])
def test_a_client_that_has_gone_is_told_apart_from_one_that_pauses(link: Link, way: str) -> None:
    received = bytearray()
    link.client.sendall(b"some")
    assert (link.peer.receive(100, received.extend), link.peer.received) == (None, 4)
    assert (link.peer.receive(96, received.extend), link.peer.received) == (None, 4)
    if way == "reset":
        link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.client.close()
    else:
        link.client.shutdown(socket.SHUT_WR)
    with pytest.raises(PeerGone):
        link.peer.receive(96, received.extend)
    assert received == b"some"


def test_one_whose_bytes_are_slow_to_write_goes_to_the_end_of_the_line_now_and_then(link: Link) -> None:
    def write(_: memoryview) -> None:
        link.client.sendall(b"more")
        time.sleep(VISIT_SECONDS)

    link.client.sendall(b"some")
    assert (link.peer.receive(100, write), link.peer.received) == (None, 4)
    assert link.peer.receive(4, write) == memoryview(b"more")
    assert link.peer.received == 8


def test_what_was_received_counts_though_it_can_not_be_written(link: Link) -> None:
    def fail(_: memoryview) -> None:
        raise OSError(28, "full")

    link.client.sendall(b"some")
    with pytest.raises(OSError, match="full"):
        link.peer.receive(100, fail)
    assert link.peer.received == 4


def test_what_is_of_no_interest_is_dropped_unless_a_thread_is_at_work(link: Link) -> None:
    with _writing(link) as (visit, go_on):
        assert not link.peer.drop(96)
        go_on.set()
        assert visit.result(LIVENESS_SECONDS) is None
    link.client.sendall(b"more")
    wait_until(lambda: link.peer.drop(96) and link.peer.received == 8)


def test_what_a_client_has_not_taken_is_told_and_nothing_where_a_socket_can_not_tell(link: Link, path: Path) -> None:
    assert link.peer.unsent() == 0
    with _open(path) as file:
        while link.peer.send(file, LARGE, is_last=True):
            pass
    assert 0 < link.peer.unsent() <= link.peer.position
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert Peer(listener).unsent() == 0
