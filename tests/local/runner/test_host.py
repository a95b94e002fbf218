from __future__ import annotations

import socket
from pathlib import Path

from local.runner.balancer import Balancer
from local.runner.credentials import CredentialsEndpoint
from local.runner.host import Host
from tests.local.runner.fakes import FakeCloud, FakeImages


def make(tmp_path: Path) -> Host:
    cloud = FakeCloud()
    return Host(cloud, FakeImages(tmp_path), tmp_path, Balancer(0), CredentialsEndpoint(cloud), print)


def test_a_port_is_handed_out_once_until_it_is_returned(tmp_path: Path) -> None:
    host = make(tmp_path)
    ports = [host.take_port() for _ in range(100)]
    assert len(set(ports)) == 100
    for port in ports:
        host.return_port(port)
    assert host.take_port() in range(20000, 30000)


def test_a_port_that_is_handed_out_can_be_bound_on_every_address(tmp_path: Path) -> None:
    port = make(tmp_path).take_port()
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as bound:
            bound.bind((address, port))
