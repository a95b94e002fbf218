from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.runner.process import Process, end_leftovers, run_command

pytestmark = pytest.mark.anyio


async def spawn(folder: Path, program: str, **environment: str) -> Process:
    return await Process.spawn(
        [sys.executable, "-c", program],
        environment=environment,
        folder=folder,
        output=folder / "log" / "out.log",
        record=folder / "tasks" / "one.json",
    )


async def printed(folder: Path, word: str) -> str:
    """What the process printed, once `word` is part of it."""
    async with asyncio.timeout(120):
        while word not in (text := (folder / "log" / "out.log").read_text()):
            await asyncio.sleep(0.02)
    return text


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie, of which only an exit code is left, still has its pid.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


async def gone(pid: int) -> None:
    async with asyncio.timeout(120):
        while alive(pid):
            await asyncio.sleep(0.02)


async def test_runs_in_its_folder_with_exactly_its_environment(tmp_path: Path) -> None:
    process = await spawn(tmp_path, "import os; print(os.getcwd(), sorted(os.environ))", ONLY="this")
    assert await process.wait() == 0
    folder, names = (tmp_path / "log" / "out.log").read_text().strip().split(" ", 1)
    assert folder == str(tmp_path)
    assert set(json.loads(names.replace("'", '"'))) - {"LC_CTYPE"} == {"ONLY"}  # Python itself sets LC_CTYPE


async def test_exit_codes_are_those_of_a_shell(tmp_path: Path) -> None:
    assert await (await spawn(tmp_path, "raise SystemExit(3)")).wait() == 3
    process = await spawn(tmp_path, "import time; print('up', flush=True); time.sleep(60)")
    await printed(tmp_path, "up")
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == 137


async def test_a_program_that_is_not_there_exits_127_and_says_so(tmp_path: Path) -> None:
    process = await Process.spawn(
        ["/no/such/program"], environment={}, folder=tmp_path, output=tmp_path / "o", record=tmp_path / "r.json"
    )
    assert await process.wait() == 127
    assert "/no/such/program: No such file or directory" in (tmp_path / "o").read_text()


async def test_stop_lets_it_end_by_itself(tmp_path: Path) -> None:
    program = "import signal,time; signal.signal(15, lambda *_: exit(5)); print('up', flush=True); time.sleep(60)"
    process = await spawn(tmp_path, program)
    await printed(tmp_path, "up")
    assert await process.stop(20) == 5


async def test_stop_kills_what_ignores_it(tmp_path: Path) -> None:
    program = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    process = await spawn(tmp_path, program)
    await printed(tmp_path, "up")
    assert await process.stop(0.2) == 137


async def test_its_children_end_with_it(tmp_path: Path) -> None:
    program = (
        "import subprocess,sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print('child', child.pid, flush=True)"
    )
    process = await spawn(tmp_path, program)
    assert await process.wait() == 0
    child = int((tmp_path / "log" / "out.log").read_text().split()[1])
    await gone(child)


async def test_the_record_lasts_as_long_as_the_process(tmp_path: Path) -> None:
    process = await spawn(tmp_path, "import time; time.sleep(60)")
    assert json.loads((tmp_path / "tasks" / "one.json").read_text())["pid"] == process.pid
    process.kill()
    await process.wait()
    assert not list((tmp_path / "tasks").iterdir())


async def test_leftovers_are_ended_by_their_records(tmp_path: Path) -> None:
    process = await spawn(tmp_path, "import time; time.sleep(600)")
    assert end_leftovers(tmp_path / "tasks") == 1
    assert await process.wait() == 137
    assert end_leftovers(tmp_path / "tasks") == 0


async def test_a_process_that_only_has_the_pid_of_a_leftover_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as other:
        (tmp_path / "a.json").write_text(json.dumps({"pid": other.pid, "identity": "another boot 1"}))
        (tmp_path / "b.json").write_text('{"pid": ')
        assert end_leftovers(tmp_path) == 0
        assert other.poll() is None
        assert not list(tmp_path.glob("*.json"))
        other.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can bind a process to its parent's life")
async def test_a_task_dies_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from local.runner.process import Process
async def main():
    folder = Path({str(tmp_path)!r})
    task = await Process.spawn([sys.executable, "-c", "import time; time.sleep(600)"], environment={{}},
        folder=folder, output=folder / "log" / "out.log", record=folder / "tasks" / "one.json")
    print(task.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert runner.stdout is not None
    pid = int(await asyncio.wait_for(runner.stdout.readline(), 120))
    assert alive(pid)
    runner.kill()
    await runner.communicate()
    await gone(pid)


async def test_a_command_gives_its_exit_code_and_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('why'); raise SystemExit(1)"]
    assert await run_command(command, environment={}, folder=tmp_path, timeout_seconds=20) == (1, "why")


async def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    code, output = await run_command(command, environment={}, folder=tmp_path, timeout_seconds=0.1)
    assert (code, output) == (None, "no answer within 0.1 s")
