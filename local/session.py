"""`make up`: the embedded AWS, a deployment, the runner; until Ctrl-C, then everything down again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.cloud_process import CloudFailed, CloudProcess
from local.control import ControlServer, Report, Session
from local.deployment import Deployed, Resources
from local.images import Images
from local.paths import PROJECT_ROOT, LocalPaths
from local.runner import Runner, RunnerError
from local.runner.stack import reveal
from local.session_lock import SessionFailed, only_session
from local.welcome import Facts, welcome

_STATUS_SECONDS = 0.5
_INTERRUPTED = 130


@dataclass
class UpSession:
    """One `make up`. `port` is the load balancer's, `cloud_port` the embedded AWS's (0: any free one)."""

    executable: Path
    paths: LocalPaths
    port: int
    cloud_port: int
    region: str
    report: Report
    _listener: Report | None = None

    async def run(self) -> int:
        """Returns the exit status. Raises `SessionFailed`."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stop.set)
        started = time.monotonic()
        with only_session(self.paths):
            # The engine reads its own state and the program while the embedded AWS starts.
            engine = await self._start_engine()
            try:
                cloud = await asyncio.to_thread(self._start_cloud)
            except SessionFailed:
                await _end(engine)
                raise
            runner = Runner(
                aws=cloud,
                images=Images(self.paths.images),
                folder=self.paths.folder,
                port=self.port,
                report=self._say,
            )
            control = ControlServer(lambda resources, report: self._apply(runner, resources, report))
            try:
                await runner.start()
                deployed = await self._deploy(engine, cloud, stop)
                if deployed is None or not await self._roll_out(runner, deployed, stop):
                    return _INTERRUPTED
                Session(os.getpid(), await control.start(), control.secret, cloud.endpoint_url, runner.port).write(
                    self.paths.session
                )
                facts = await asyncio.to_thread(self._facts, cloud, deployed, runner.port)
                self.report(welcome(facts, time.monotonic() - started))
                await self._watch(runner, cloud, stop)
                return 0
            except RunnerError as error:
                raise SessionFailed(str(error)) from error
            finally:
                self.paths.session.unlink(missing_ok=True)
                control.stop()
                await _end(engine)
                await self._stop_runner(runner)
                await asyncio.to_thread(cloud.stop)
                self.report("stopped")

    async def _roll_out(self, runner: Runner, deployed: Deployed, stop: asyncio.Event) -> bool:
        """Brings the tasks up; False when the session is to stop first."""
        rollout = asyncio.ensure_future(self._apply(runner, deployed.resources, None))
        await self._first_of(rollout, stop)
        if not rollout.done():
            rollout.cancel()
            await asyncio.gather(rollout, return_exceptions=True)
            return False
        if failure := rollout.result():
            raise SessionFailed(failure)
        return True

    async def _stop_runner(self, runner: Runner) -> None:
        """Drains; another Ctrl-C meanwhile kills."""
        self.report("stopping: tasks finish what they are doing (Ctrl-C again kills them)")
        stopping = asyncio.ensure_future(runner.stop())
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stopping.cancel)
        await asyncio.gather(stopping, return_exceptions=True)
        if stopping.cancelled():
            self.report("killed")

    def _start_cloud(self) -> CloudProcess:
        try:
            return CloudProcess.start(self.paths.cloud, region=self.region, port=self.cloud_port)
        except CloudFailed as error:
            raise SessionFailed(str(error)) from error

    async def _start_engine(self) -> asyncio.subprocess.Process:
        """Starts the engine's process, which waits for the embedded AWS's address on its stdin."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "local",
            "engine-up",
            cwd=PROJECT_ROOT,
            env=os.environ | {"LOCAL_DIR": str(self.paths.folder), "LOCAL_ENGINE": str(self.executable)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 28,
            # Ctrl-C in the terminal is for the session; it tells the engine itself.
            start_new_session=True,
        )

    async def _deploy(
        self, engine: asyncio.subprocess.Process, cloud: CloudProcess, stop: asyncio.Event
    ) -> Deployed | None:
        """Lets the engine deploy; None when the session is to stop first."""
        answer = asyncio.ensure_future(engine.communicate(f"{cloud.endpoint_url}\n".encode()))
        await self._first_of(answer, stop)
        if not answer.done():
            self.report("interrupting the deployment")
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            return None
        output, _ = answer.result()
        if engine.returncode != 0:
            raise SessionFailed("the stack was not deployed")
        result = json.loads(output)
        return Deployed(result["resources"], result["changes"])

    async def _apply(self, runner: Runner, resources: Resources, report: Report | None) -> str | None:
        """Brings the tasks to what was deployed; `report` hears of it beside this terminal. What went wrong, or None."""
        self._listener = report
        try:
            outcome = await runner.apply(resources)
        except RunnerError as error:
            return str(error)
        finally:
            self._listener = None
        return None if outcome.ok else f"the services do not run what was deployed\n{outcome}"

    def _say(self, line: str) -> None:
        self.report(line)
        if self._listener is not None:
            self._listener(line)

    async def _watch(self, runner: Runner, cloud: CloudProcess, stop: asyncio.Event) -> None:
        shown = [str(status) for status in runner.status()]
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _STATUS_SECONDS)
            if cloud.process.poll() is not None:
                raise SessionFailed(
                    f"the embedded AWS ended with status {cloud.process.returncode} "
                    f"(its log: {self.paths.cloud / 'server.log'}); `make up` brings everything back"
                )
            now = [str(status) for status in runner.status()]
            for line in now:
                if line not in shown:
                    self.report(line)
            shown = now

    async def _first_of(self, work: asyncio.Future[Any], stop: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    def _facts(self, cloud: CloudProcess, deployed: Deployed, port: int) -> Facts:
        outputs = reveal(deployed.outputs)
        token = None
        if outputs.get("tokenParameter"):
            answer = cloud.client("ssm").get_parameter(Name=outputs["tokenParameter"], WithDecryption=True)
            token = str(answer["Parameter"]["Value"])
        return Facts(port, cloud.endpoint_url, self.region, token, outputs.get("bucket"), outputs.get("queueUrl"))


async def _end(engine: asyncio.subprocess.Process) -> None:
    """Ends the engine's process: it may finish the step that it is at, and write down what it has done."""
    if engine.returncode is not None:
        return
    for how, seconds in ((signal.SIGINT, 20), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(engine.pid, how)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(engine.wait(), seconds)
            return
