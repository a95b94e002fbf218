"""Runs tasks by their schedules, each to its end, as EventBridge Scheduler and RunTask would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from local.runner.host import Host
from local.runner.ports import RunnerError
from local.runner.stack import Schedule
from local.runner.task import Task
from local.runner.timing import Timing, parse_timing

# asyncio measures a sleep by a clock that a suspended machine may stop: look at the wall clock this often.
_LONGEST_SLEEP_SECONDS = 30.0


def _now() -> datetime:
    return datetime.now(UTC)


class ScheduleKeeper:
    """Follows the deployed schedules. Runs of one schedule may overlap, as they may on AWS."""

    def __init__(self, host: Host, now: Callable[[], datetime] = _now) -> None:
        self._host = host
        self._now = now
        self._schedules: dict[str, Schedule] = {}
        self._clocks: dict[str, asyncio.Task[None]] = {}
        self._runs: set[asyncio.Task[int | None]] = set()
        self._tasks: set[Task] = set()

    def follow(self, schedules: Mapping[str, Schedule]) -> None:
        """Makes these the schedules. One that did not change keeps its rhythm; a disabled one does not run.

        Raises RunnerError for an expression or time zone that has no meaning, and then changes nothing.
        """
        now = self._now()
        timings = {arn: _timing(schedule, now) for arn, schedule in schedules.items()}
        for arn, clock in list(self._clocks.items()):
            if self._schedules.get(arn) != schedules.get(arn):
                clock.cancel()
                del self._clocks[arn]
        self._schedules = dict(schedules)
        for arn, schedule in schedules.items():
            if schedule.enabled and arn not in self._clocks:
                self._clocks[arn] = asyncio.create_task(self._tick(schedule, timings[arn], now))

    async def run_once(self, name: str) -> int | None:
        """Runs a schedule's task now, whatever its state. Returns the exit code, None when it could not be started.

        Raises RunnerError when the stack has no such schedule.
        """
        schedule = next((s for s in self._schedules.values() if s.name == name), None)
        if schedule is None:
            known = ", ".join(sorted(s.name for s in self._schedules.values())) or "none"
            raise RunnerError(f"there is no schedule {name!r}; the stack has: {known}")
        return await self._run(schedule)

    async def stop(self) -> None:
        """Runs no more; tasks that run get SIGTERM and their stop timeout."""
        for clock in self._clocks.values():
            clock.cancel()
        await asyncio.gather(*self._clocks.values(), return_exceptions=True)
        self._clocks.clear()
        for task in list(self._tasks):
            task.stop()
        for task in list(self._tasks):
            await task.finished()
        await asyncio.gather(*self._runs, return_exceptions=True)

    def kill(self) -> None:
        for task in self._tasks:
            task.kill()

    async def _tick(self, schedule: Schedule, timing: Timing, began: datetime) -> None:
        last = began - timedelta(microseconds=1)
        while (due := timing.next(last)) is not None:
            while (wait := (due - self._now()).total_seconds()) > 0:
                await asyncio.sleep(min(wait, _LONGEST_SLEEP_SECONDS))
            for _ in range(schedule.task_count):
                run = asyncio.create_task(self._run(schedule))
                self._runs.add(run)
                run.add_done_callback(self._runs.discard)
            # Runs that a suspended machine slept through are not made up for.
            last = max(due, self._now() - timedelta(minutes=1))

    async def _run(self, schedule: Schedule) -> int | None:
        task = Task(self._host, schedule.task_definition, schedule.name, checked=False)
        self._tasks.add(task)
        try:
            task.start()
            stopped = await task.finished()
        finally:
            self._tasks.discard(task)
        self._host.report(f"{schedule.name}: task {task.id} {stopped}")
        return stopped.exit_code


class _Window:
    """A timing within a schedule's start and end."""

    def __init__(self, timing: Timing, start: datetime | None, end: datetime | None) -> None:
        self._timing = timing
        self._start = start
        self._end = end

    def next(self, after: datetime) -> datetime | None:
        if self._start is not None:
            after = max(after, self._start - timedelta(microseconds=1))
        due = self._timing.next(after)
        return None if due is None or (self._end is not None and due > self._end) else due


def _timing(schedule: Schedule, now: datetime) -> Timing:
    start, end = (_instant(text) for text in (schedule.start, schedule.end))
    # A rate without a start begins at once: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    return _Window(parse_timing(schedule.expression, schedule.timezone, anchor=start or now), start, end)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
