from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.files import parts as incoming
from service.files.parts import Parts
from tests.service.harness import ROOT


def begin(parts: Parts) -> Path:
    descriptor, path, _ = parts.create()
    os.close(descriptor)
    return Path(path)


def killed(root: Path) -> Path:
    """The part of a process that was killed."""
    code = (
        "import sys, time; from pathlib import Path; from service.files.parts import Parts; "
        "parts = Parts(Path(sys.argv[1])); parts.prepare(); print(parts.create()[1], flush=True); time.sleep(60)"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    return path


def pass_by(root: Path, seconds: float) -> None:
    """Makes all signs of life that much older."""
    for path in (root / "incoming").glob("*.alive"):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_the_next_start_removes_the_parts_of_a_process_that_was_killed(tmp_path: Path) -> None:
    part = killed(tmp_path)
    pass_by(tmp_path, incoming.DEAD_SECONDS + 1)
    assert part.exists()
    parts = Parts(tmp_path)
    parts.prepare()
    assert not part.parent.exists()
    assert len(list((tmp_path / "incoming").glob("*.alive"))) == 1
    assert begin(parts).exists()


def test_a_process_that_runs_on_removes_them_too_a_minute_later(tmp_path: Path) -> None:
    part = killed(tmp_path)
    parts = Parts(tmp_path)
    parts.prepare()
    mine = begin(parts)
    parts.beat()
    assert part.exists()  # it may be alive, for all that is known
    pass_by(tmp_path, incoming.DEAD_SECONDS + 1)
    parts.beat()
    assert not part.exists()
    assert mine.exists()


@pytest.mark.parametrize("step", ["mkdir", "open", "unlink", "rmdir", "scandir"])
@pytest.mark.parametrize("number", range(3))
def test_a_start_that_is_killed_at_any_step_leaves_nothing_that_stays(tmp_path: Path, step: str, number: int) -> None:
    code = (
        "import itertools, os, signal, sys; from pathlib import Path; from service.files.parts import Parts; "
        "step, number, calls = sys.argv[2], int(sys.argv[3]), itertools.count(); "
        "sys.addaudithook(lambda name, given: name == f'os.{step}'.replace('os.open', 'open') "
        "and 'incoming' in str(given[0]) and next(calls) == number and os.kill(os.getpid(), signal.SIGKILL)); "
        "Parts(Path(sys.argv[1])).prepare()"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path), step, str(number)], env=env, timeout=20)
    parts = Parts(tmp_path)
    parts.prepare()
    pass_by(tmp_path, incoming.DEAD_SECONDS + 1)
    parts.beat()
    parts.close()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_two_that_clean_at_the_same_time_are_no_error(tmp_path: Path) -> None:
    stores = [Parts(tmp_path) for _ in range(2)]
    for parts in stores:
        parts.prepare()
    for _ in range(20):
        killed_names = [f"1-{number:02x}" for number in range(10)]
        for name in killed_names:
            (tmp_path / "incoming" / f"{name}-0").mkdir()
            (tmp_path / "incoming" / f"{name}-0" / "1.part").touch()
            (tmp_path / "incoming" / f"{name}.alive").touch()
            os.utime(tmp_path / "incoming" / f"{name}.alive", (0, 0))
        threads = [threading.Thread(target=parts.beat) for parts in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for parts in stores:
            parts.beat()
        assert len(list((tmp_path / "incoming").iterdir())) == 4


def test_processes_that_live_leave_each_other_alone(tmp_path: Path) -> None:
    first, second = Parts(tmp_path), Parts(tmp_path)
    first.prepare()
    part = begin(first)
    second.prepare()
    assert part.exists()
    first.close()
    assert part.exists()  # it was not given back


def test_what_a_process_made_is_gone_after_it_has_ended(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.prepare()
    for path in [begin(parts) for _ in range(3)]:
        path.unlink()
    parts.close()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_slots_are_used_again_and_bound_the_directories(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.prepare()
    for _ in range(10):
        descriptor, path, slot = parts.create()
        os.close(descriptor)
        assert slot == 0
        assert Path(path).parent.name.endswith("-0")
        parts.release(slot)
    taken = [parts.create() for _ in range(incoming.SPREAD + 8)]
    assert len({Path(path).parent for _, path, _ in taken}) == incoming.SPREAD
    for descriptor, _, slot in taken:
        os.close(descriptor)
        parts.release(slot)


def test_a_part_that_can_not_be_made_gives_its_slot_back(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.prepare()
    parts.close()
    (tmp_path / "incoming").rmdir()
    (tmp_path / "incoming").touch()
    with pytest.raises(NotADirectoryError):
        parts.create()
    (tmp_path / "incoming").unlink()
    descriptor, _, slot = parts.create()
    os.close(descriptor)
    assert slot == 0


def test_what_can_not_be_removed_keeps_no_process_from_starting(tmp_path: Path) -> None:
    part = killed(tmp_path)
    (part.parent / ".nfs0001").touch()
    other = killed(tmp_path)
    pass_by(tmp_path, incoming.DEAD_SECONDS + 1)
    parts = Parts(tmp_path)
    parts.prepare()
    assert part.parent.exists()
    assert not other.parent.exists()
    assert begin(parts).exists()
