"""Metrics as lines of CloudWatch's embedded metric format (EMF): written like log lines, read by no agent.

Counted in memory and written once an interval, so that a request costs no line. Sums are exact. Of a distribution, such
as a latency, at most 100 values an interval are kept, which is all that a line may carry; each value of the interval has
the same chance to be among them, so means and percentiles hold, and the number of values is a sum of its own.

Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from service.settings import METRICS_NAMESPACE

MOST_VALUES = 100

UNITS: Mapping[str, str] = MappingProxyType(
    {
        # The API, by route
        "Requests": "Count",
        # Answers of 5xx that the service is to blame for, see errors.Problem.is_fault: a refusal by a service that is
        # too busy or whose storage fails, but none because it stops, and not the readiness check's no.
        "ServerErrors": "Count",
        "Latency": "Milliseconds",
        "BytesIn": "Bytes",
        "BytesOut": "Bytes",
        # The API as a whole
        "UploadsAborted": "Count",
        "QueueLatency": "Milliseconds",
        "BatchFill": "Count",
        "MessagesRefused": "Count",
        # The worker
        "Received": "Count",
        "Stored": "Count",
        "Deleted": "Count",
        "Duplicates": "Count",
        "Failures": "Count",
        "WorkerLag": "Milliseconds",
        "PutLatency": "Milliseconds",
        # The sweep, when it verifies
        "VerifiedFiles": "Count",
        "VerifiedBytes": "Bytes",
        "DamagedFiles": "Count",
    }
)
"""Every metric and its unit."""


class _Group:
    """What one interval has seen of one route, or of the command as a whole."""

    __slots__ = ("seen", "sums", "values")

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.values: dict[str, list[float]] = {}
        self.seen: dict[str, int] = {}

    def observe(self, name: str, value: float) -> None:
        kept = self.values.get(name)
        if kept is None:
            self.values[name] = [value]
            self.seen[name] = 1
            return
        seen = self.seen[name] = self.seen[name] + 1
        if len(kept) < MOST_VALUES:
            kept.append(value)
        elif (place := int(random.random() * seen)) < MOST_VALUES:
            kept[place] = value


class Metrics:
    """Counts for one process. Safe to use from several threads.

    ``command`` is the value of the dimension ``Command``: api, worker or sweep.
    """

    def __init__(
        self, command: str, *, namespace: str = METRICS_NAMESPACE, clock: Callable[[], float] = time.time
    ) -> None:
        self._command = command
        self._namespace = namespace
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[str, _Group] = {}

    def add(self, name: str, value: float = 1.0, *, route: str = "") -> None:
        """Adds to a sum. ``name`` is one of ``UNITS``; ``route`` a route's template, for what is counted by route."""
        with self._lock:
            sums = self._group(route).sums
            sums[name] = sums.get(name, 0.0) + value

    def observe(self, name: str, value: float, *, route: str = "") -> None:
        """Takes one value of a distribution."""
        with self._lock:
            self._group(route).observe(name, value)

    def request(self, route: str, milliseconds: float, bytes_in: int, bytes_out: int, *, failed: bool) -> None:
        """One request and its answer, all at once because there are so many."""
        with self._lock:
            group = self._group(route)
            sums = group.sums
            sums["Requests"] = sums.get("Requests", 0.0) + 1
            sums["ServerErrors"] = sums.get("ServerErrors", 0.0) + failed
            sums["BytesIn"] = sums.get("BytesIn", 0.0) + bytes_in
            sums["BytesOut"] = sums.get("BytesOut", 0.0) + bytes_out
            group.observe("Latency", milliseconds)

    def lines(self) -> list[str]:
        """What was counted since the last call, a line of JSON for each route and one for the rest."""
        with self._lock:
            groups, self._groups = self._groups, {}
        timestamp = int(self._clock() * 1000)
        return [self._line(timestamp, route, group) for route, group in groups.items()]

    def _group(self, route: str) -> _Group:
        group = self._groups.get(route)
        if group is None:
            group = self._groups[route] = _Group()
        return group

    def _line(self, timestamp: int, route: str, group: _Group) -> str:
        values: dict[str, object] = {}
        values.update(group.sums)
        values.update({name: [round(value, 3) for value in kept] for name, kept in group.values.items()})
        dimensions = {"Command": self._command}
        if route:
            dimensions["Route"] = route
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in values],
        }
        return json.dumps({"_aws": {"Timestamp": timestamp, "CloudWatchMetrics": [directive]}, **dimensions, **values})
