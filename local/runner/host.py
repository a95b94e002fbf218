"""The machine that the tasks run on: its folder, its ports, and what every task of the stack shares."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.runner.agent import AgentEndpoint
from local.runner.balancer import Balancer
from local.runner.credentials import CredentialsEndpoint
from local.runner.ports import Cloud, ImageStore, RunnerError
from local.runner.stack import TargetGroup

# Below the ports that Linux (32768) and macOS (49152) hand out to outgoing connections: one of those could take a
# task's port between its choice and its use.
_PORTS = range(20000, 30000)


@dataclass
class Host:
    """`report` takes one short line for a human. `target_groups` is replaced by each deployment."""

    cloud: Cloud
    images: ImageStore
    folder: Path
    balancer: Balancer
    credentials: CredentialsEndpoint
    report: Callable[[str], None]
    target_groups: dict[str, TargetGroup] = field(default_factory=dict)
    agent: AgentEndpoint = field(default_factory=AgentEndpoint, kw_only=True)
    caller_environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _ports_in_use: set[int] = field(default_factory=set)

    def take_port(self) -> int:
        """A free port, kept from other tasks until `return_port`. Raises RunnerError when there is none."""
        for port in random.sample(_PORTS, 200):
            if port not in self._ports_in_use and is_free(port, "0.0.0.0"):
                self._ports_in_use.add(port)
                return port
        raise RunnerError(f"no free port among 200 of {_PORTS.start} to {_PORTS.stop - 1}: stop what uses them")

    def return_port(self, port: int) -> None:
        self._ports_in_use.discard(port)


def is_free(port: int, address: str) -> bool:
    """Whether nothing listens on the port of this address of the machine."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
