"""A bounded pool of threads for calls that block, so that none ever runs on the event loop.

Each kind of call gets a pool of its own: a file system that hangs must not take the threads that talk to the queue.

How many threads run follows what the calls turn out to be. Calls of a kind that waits for a network get a thread each at
once, up to ``size``. Where a kind is short, as reading a small file from a local disk with a warm cache is, waking a
thread costs more than the call itself: then one thread works off what has gathered and brings the results to the loop
together. A line that does not move gets one more thread every millisecond, so that a slow call never holds up the short
ones behind it.

A call that has not returned after ``bound_seconds`` is given up: whoever waits for it gets ``CallHangs``, and what it
returns later is dropped. Its thread stays taken until then, for nothing can end it.

A thread that can't be started, because the system has none left or no memory for it, is tried again with the next call.
While a pool has no thread at all, calls are refused with ``CallHangs`` and ``fault`` says why.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A call that returns sooner has not waited for a network.
SHORT_SECONDS = 0.0005
# A kind is short from this share of such calls on. Low, because with many threads at work a short call looks long: it
# waits for its turn in the interpreter.
SHORT_SHARE = 0.15
PATIENCE_SECONDS = 0.001
# How soon a thread that could not be started is tried again for calls that wait for one.
RETRY_SECONDS = 0.1
# For the same reason a kind that looks long is tried with one thread now and then; less and less often while it stays so.
TRIAL_CALLS = 16
TRIAL_SECONDS = (1.0, 32.0)
MOST_KINDS = 64
# A thread that has had nothing to do for so long ends.
IDLE_SECONDS = 5.0

_log = logging.getLogger("service.threads")


class CallHangs(Exception):
    """A call did not return in time, or there is no thread left to make it."""


class PoolClosed(Exception):
    """The pool takes no more calls."""


class _Kind:
    """What is known of the calls of one function; under the pool's lock."""

    __slots__ = ("_pause", "_share", "_trial_at", "_trial_left", "short")

    def __init__(self) -> None:
        self.short = True
        self._share = 1.0
        self._trial_left = 0
        self._trial_at = 0.0
        self._pause = TRIAL_SECONDS[0]

    def learn(self, seconds: float, now: float) -> None:
        self._share += ((seconds < SHORT_SECONDS) - self._share) / 16
        if self._trial_left:
            self._trial_left -= 1
            if not self._trial_left and self._share < SHORT_SHARE:
                self._pause = min(TRIAL_SECONDS[1], self._pause * 2)
                self._trial_at = now + self._pause
        elif self._share >= SHORT_SHARE:
            self._pause = TRIAL_SECONDS[0]
        elif now >= self._trial_at:
            self._trial_left = TRIAL_CALLS
        self.short = self._share >= SHORT_SHARE or self._trial_left > 0


class _Job:
    __slots__ = ("args", "began", "call", "error", "future", "kind", "kwargs", "result", "submitted")

    def __init__(
        self, call: Callable[..., Any], args: Any, kwargs: Any, future: asyncio.Future[Any] | None, kind: _Kind
    ) -> None:
        self.call = call
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.kind = kind
        self.submitted = time.monotonic()
        self.began = 0.0
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        # Nobody waits any more for a call that was cancelled or given up while it was in line.
        if self.future is not None and self.future.done():
            return
        try:
            self.result = self.call(*self.args, **self.kwargs)
        except BaseException as error:
            self.error = error


class ThreadPool:
    """At most ``size`` threads; further calls wait in line. For one event loop."""

    def __init__(self, name: str, size: int, *, bound_seconds: float | None = None) -> None:
        self.size = size
        self._name = name
        self._bound_seconds = bound_seconds
        self._lock = threading.Lock()
        self._line: deque[_Job] = deque()
        self._idle: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        self._awake = 0
        self._kinds: dict[object, _Kind] = {}
        # When the line has last become shorter, and by which thread; when a thread was last woken.
        self._moved = 0.0
        self._mover: threading.Lock | None = None
        self._woken = 0.0
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: deque[_Job] = deque()
        self._delivering = False
        self._checking: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        # In the order of their submission, which is the order in which they become overdue.
        self._waited_for: dict[asyncio.Future[Any], _Job] = {}
        self._given_up: set[_Job] = set()
        # Why the last thread could not be started; empty if it was.
        self._no_thread = ""

    @property
    def hanging(self) -> int:
        """Calls that were given up and have not returned yet."""
        return len(self._given_up)

    def fault(self) -> str | None:
        """Why no call can be made, or None if calls can. Tries once more to start a thread if that is why."""
        with self._lock:
            if self._no_thread and not self._threads and not self._closing:
                self._wake_one(time.monotonic())
            return self._no_thread if self._no_thread and not self._threads else None

    def all_hang(self) -> str | None:
        """Says so when calls that were given up have every thread. Unlike a ``fault`` it may pass by itself."""
        return None if self.hanging < self.size else f"calls hang in all threads of the pool {self._name!r}"

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Runs ``call`` in a thread. The future may be dropped: what it raises is then dropped as well.

        Raises CallHangs at once when calls that hang have taken every thread, or none can be started.
        """
        loop = self._enter(asyncio.get_running_loop())
        if self._bound_seconds is not None and self._line:
            with self._lock:
                waited = time.monotonic() - self._line[0].submitted if self._line else 0.0
            if waited > self._bound_seconds:
                raise CallHangs(f"calls have been in line for {waited:.0f} s")
        future: asyncio.Future[T] = loop.create_future()
        job = self._put(call, args, kwargs, future, wake=True)
        if self._bound_seconds is not None:
            self._waited_for[future] = job
            if self._watching is None:
                self._watching = loop.call_later(self._bound_seconds, self._watch)
        self._keep_moving()
        return future

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``call`` in a thread and returns what it returns. Cancelled, it stops waiting; the call goes on."""
        return await self.start(call, *args, **kwargs)

    def forget(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Runs ``call`` in a thread and waits for nothing; what it raises is logged."""
        try:
            self._enter(asyncio.get_running_loop())
        except RuntimeError:
            self._put(call, args, kwargs, None, wake=True)
        else:
            # It can wait a moment for a thread that is awake anyway.
            self._put(call, args, kwargs, None, wake=False)
            self._keep_moving()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        if self._loop is not None and self._loop is not loop:
            raise ValueError(f"the pool {self._name!r} is another event loop's; make one for each")
        self._loop = loop
        return loop

    def close(self, *, wait: bool = True, timeout_seconds: float = 1.5) -> None:
        """Takes no more calls. Those in line are dropped or, if ``wait``, made: it returns when all have returned.

        Blocks then, up to ``timeout_seconds``: a call that hangs must not keep the process from ending.
        """
        with self._lock:
            self._closing = True
            dropped = [] if wait else list(self._line)
            if not wait:
                self._line.clear()
            for sleeper in self._idle:
                sleeper.release()
            self._awake += len(self._idle)
            self._idle.clear()
            threads = list(self._threads) if wait else []
        for job in dropped:
            if job.future is not None and not job.future.done():
                _fail(job.future, PoolClosed(f"the pool {self._name!r} is closed"))
        until = time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _put(
        self, call: Callable[..., Any], args: Any, kwargs: Any, future: asyncio.Future[Any] | None, *, wake: bool
    ) -> _Job:
        function = getattr(call, "__func__", call)
        with self._lock:
            if self._closing:
                raise PoolClosed(f"the pool {self._name!r} is closed")
            kind = self._kinds.get(function)
            if kind is None:
                # Functions that are made anew for each call would be remembered for ever.
                if len(self._kinds) >= MOST_KINDS:
                    self._kinds.clear()
                kind = self._kinds[function] = _Kind()
            job = _Job(call, args, kwargs, future, kind)
            self._line.append(job)
            if wake and not (kind.short and self._awake and not self._is_stuck(job.submitted)):
                self._wake_one(job.submitted)
                if future is not None and not self._threads:
                    self._line.pop()
                    raise CallHangs(self._no_thread)
        return job

    def _is_stuck(self, now: float) -> bool:
        """Under the lock."""
        return now - self._moved >= PATIENCE_SECONDS and now - self._woken >= PATIENCE_SECONDS

    def _wake_one(self, now: float) -> None:
        """Under the lock."""
        if self._idle:
            # The one that went to sleep last has its stack still in the processor's cache.
            self._idle.pop().release()
        elif len(self._threads) >= self.size or not self._start_thread():
            return
        self._awake += 1
        self._woken = now

    def _start_thread(self) -> bool:
        """Under the lock."""
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            # pthread_create() has failed: a limit on processes or on memory, the host's, the container's or the user's.
            if not self._no_thread:
                _log.error("a thread can't be started", extra={"fields": {"pool": self._name, "reason": str(error)}})
            self._no_thread = f"the pool {self._name!r} can't start a thread: {error}"
            return False
        self._no_thread = ""
        # Only now: one that was never started would take a place for ever. It waits for the lock before it does anything.
        self._threads.append(thread)
        return True

    def _work(self) -> None:
        sleeper = threading.Lock()
        sleeper.acquire()
        try:
            self._make_calls(sleeper)
        except BaseException as error:
            # Out of memory, in all likelihood. The pool gets another thread with the next call.
            _log.error("a thread has ended", exc_info=error, extra={"fields": {"pool": self._name}})
        finally:
            with self._lock:
                if (thread := threading.current_thread()) in self._threads:
                    self._threads.remove(thread)
                    if sleeper in self._idle:
                        self._idle.remove(sleeper)
                    else:
                        self._awake -= 1

    def _make_calls(self, sleeper: threading.Lock) -> None:
        job: _Job | None = None
        while True:
            with self._lock:
                job = self._next(sleeper, job)
                if job is None:
                    if self._closing:
                        return
                    self._idle.append(sleeper)
                    self._awake -= 1
            if job is None:
                if not sleeper.acquire(timeout=IDLE_SECONDS) and self._leave(sleeper):
                    return
                continue
            job.run()
            self._bring(job)

    def _leave(self, sleeper: threading.Lock) -> bool:
        """Whether a thread that nobody has woken for long may end."""
        with self._lock:
            if sleeper not in self._idle:
                # It has been woken just now. Left as it is, the sleeper would end the next sleep before it has begun.
                sleeper.acquire()
                return False
            self._idle.remove(sleeper)
            self._threads.remove(threading.current_thread())
            return True

    def _next(self, sleeper: threading.Lock, finished: _Job | None) -> _Job | None:
        """The call to make after ``finished``, or None if this thread is to sleep. Under the lock."""
        now = time.monotonic()
        if finished is not None:
            finished.kind.learn(now - finished.began, now)
        if not self._line:
            return None
        others_work = self._mover is not sleeper and now - self._moved < PATIENCE_SECONDS
        if finished is not None and others_work and self._line[0].kind.short and not self._closing:
            return None
        job = self._line.popleft()
        job.began = self._moved = now
        self._mover = sleeper
        return job

    def _keep_moving(self) -> None:
        if self._checking is None and self._line and self._loop is not None:
            in_vain = self._no_thread and not self._idle
            self._checking = self._loop.call_later(RETRY_SECONDS if in_vain else PATIENCE_SECONDS, self._check)

    def _check(self) -> None:
        """Gives a line that does not move one more thread."""
        self._checking = None
        now = time.monotonic()
        with self._lock:
            if self._line and self._is_stuck(now):
                self._wake_one(now)
        self._keep_moving()

    def _watch(self) -> None:
        """Gives up calls that are overdue."""
        assert self._bound_seconds is not None and self._loop is not None
        self._watching = None
        now = time.monotonic()
        while self._waited_for:
            future, job = next(iter(self._waited_for.items()))
            left = job.submitted + self._bound_seconds - now
            if left > 0:
                self._watching = self._loop.call_later(left, self._watch)
                return
            del self._waited_for[future]
            with self._lock:
                if job.began:
                    self._given_up.add(job)
                elif job in self._line:
                    self._line.remove(job)
            if not future.done():
                _fail(future, CallHangs(f"no answer within {self._bound_seconds:g} s"))

    def _bring(self, job: _Job) -> None:
        if job.future is None:
            if job.error is not None:
                _log.error("a call in the background failed", exc_info=job.error)
            return
        self._done.append(job)
        if not self._delivering:
            self._delivering = True
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._done.clear()  # the loop is closed: nobody waits any more
            except BaseException:
                self._delivering = False  # or no later call would ever say that there is something to deliver
                raise

    def _deliver(self) -> None:
        # First, so that a result that comes now is either taken below or announced again.
        self._delivering = False
        while self._done:
            job = self._done.popleft()
            future = job.future
            assert future is not None
            self._waited_for.pop(future, None)
            self._given_up.discard(job)
            if future.done():
                continue
            if job.error is None:
                future.set_result(job.result)
            else:
                _fail(future, job.error)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    future.set_exception(error)
    future.exception()  # marks it as seen, or asyncio logs it as never retrieved when nobody waits
