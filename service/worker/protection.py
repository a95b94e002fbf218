"""Asks ECS not to stop this task while it works: the task scale-in protection of the ECS agent's endpoint.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html

A worker drains within its stop timeout, so protection is no matter of losing messages; it makes a scale-in take the idle
tasks first. ECS holds off deployments for protected tasks as well, and a worker under constant load would hold one off
for ever. So protection is renewed for a bounded time, and then lapses for a moment in which ECS may stop the task.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

# How long the end of the process waits for an answer under way.
CLOSE_SECONDS = 0.5
# Without proxies: the agent is on a link-local address of the task's own.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_log = logging.getLogger("service.protection")


class Protection:
    """Decides when to ask for what. Times in seconds; ``renew_seconds`` is less than the ``expiry_minutes`` of one ask.

    Work begins to count after ``busy_seconds`` of it, and has ended after ``idle_seconds`` without, so that single
    messages change nothing. What failed is asked again after ``retry_seconds``.
    """

    def __init__(
        self,
        *,
        busy_seconds: float = 2,
        idle_seconds: float = 10,
        expiry_minutes: int = 5,
        renew_seconds: float = 240,
        longest_seconds: float = 900,
        lapse_seconds: float = 60,
        retry_seconds: float = 30,
    ) -> None:
        self.expiry_minutes = expiry_minutes
        self._busy_seconds = busy_seconds
        self._idle_seconds = idle_seconds
        self._renew_seconds = renew_seconds
        self._longest_seconds = longest_seconds
        self._lapse_seconds = lapse_seconds
        self._retry_seconds = retry_seconds
        self._busy_since: float | None = None
        self._last_busy = float("-inf")
        self._protected_since: float | None = None
        self._ask_again_at = float("-inf")

    def wanted(self, now: float, *, busy: bool) -> bool | None:
        """What to ask for now: True for protection, False for its end, None for nothing."""
        if busy:
            self._busy_since = now if self._busy_since is None else self._busy_since
            self._last_busy = now
        elif now - self._last_busy >= self._idle_seconds:
            self._busy_since = None
        if now < self._ask_again_at:
            # Also while protection lapses; only its end is worth asking for at once, when there is no work any more.
            return False if self._protected_since is not None and self._busy_since is None else None
        if self._protected_since is None:
            # Busy of late and not only at the beginning: one message an hour ago is no work.
            lasted = self._busy_since is not None and self._last_busy - self._busy_since >= self._busy_seconds
            return True if lasted else None
        return self._busy_since is not None and now - self._protected_since < self._longest_seconds

    def asked(self, now: float, wanted: bool, *, granted: bool) -> None:
        """Takes note of how asking for what was ``wanted`` went."""
        if not granted:
            # The end of protection comes by its expiry if it can't be asked for.
            self._protected_since = self._protected_since if wanted else None
            self._ask_again_at = now + self._retry_seconds
        elif wanted:
            self._protected_since = now if self._protected_since is None else self._protected_since
            self._ask_again_at = now + self._renew_seconds
        else:
            lapsed = self._busy_since is not None
            self._protected_since = None
            self._ask_again_at = now + self._lapse_seconds if lapsed else float("-inf")


class Protector:
    """A thread that keeps the agent told. Nothing that goes wrong here touches the work: it is logged."""

    def __init__(
        self,
        agent_url: str,
        protection: Protection,
        in_work: Callable[[], int],
        *,
        tick_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``in_work`` tells how many messages are in work; ``agent_url`` is ``$ECS_AGENT_URI``."""
        self._url = f"{agent_url.rstrip('/')}/task-protection/v1/state"
        self._protection = protection
        self._in_work = in_work
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="protection", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Asks for nothing any more. An agent that is slow to answer is waited for no longer than ``timeout_seconds``."""
        self._closing.set()
        self._thread.join(timeout_seconds)

    def tick(self) -> None:
        """Asks, if there is something to ask for."""
        wanted = self._protection.wanted(self._clock(), busy=self._in_work() > 0)
        if wanted is None:
            return
        reason = self._ask(wanted)
        if reason is not None:
            fields = {"wanted": wanted, "reason": reason}
            _log.warning("protection from scale-in could not be changed", extra={"fields": fields})
        self._protection.asked(self._clock(), wanted, granted=reason is None)

    def _run(self) -> None:
        while not self._closing.wait(self._tick_seconds):
            try:
                self.tick()
            except Exception:
                _log.exception("asking for protection from scale-in failed")

    def _ask(self, wanted: bool) -> str | None:
        """Asks the agent; returns why it was refused, or None."""
        content: dict[str, object] = {"ProtectionEnabled": wanted}
        if wanted:
            content["ExpiresInMinutes"] = self._protection.expiry_minutes
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url, json.dumps(content).encode(), headers, method="PUT")
        try:
            with _opener.open(request, timeout=5) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return _reason(error.read(10_000)) or f"status {error.code}"
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        # A failure is a 200 as well, such as TASK_NOT_VALID for a task that no service started.
        return _reason(json.dumps(answer).encode())


def _reason(body: bytes) -> str | None:
    """The reason in the agent's answer: ``{"failure":{"Reason"}}`` or ``{"error":{"Code","Message"}}``."""
    try:
        answer = json.loads(body)
        failure, error = answer.get("failure"), answer.get("error")
        if failure:
            return str(failure["Reason"])
        return f"{error['Code']}: {error['Message']}" if error else None
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"an answer that can't be read: {body[:100]!r}"
