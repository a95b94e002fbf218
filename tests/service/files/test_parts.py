from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.files import parts as incoming
from service.files.parts import Parts
from tests.service.harness import LIVENESS_SECONDS, ROOT


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


def look(parts: Parts, times: int = incoming.DEAD_LOOKS + 1) -> None:
    """As often as it takes to see that a process is dead: the first look knows of none before."""
    for _ in range(times):
        parts.clean()


_ticks = itertools.count(1)


def beat(parts: Parts) -> None:
    """A heartbeat that differs from the one before, also within one tick of the file system's clock."""
    parts.beat()
    tick = next(_ticks)
    os.utime(parts._alive, ns=(tick, tick))


def test_the_next_start_removes_the_parts_of_a_process_that_was_killed(tmp_path: Path) -> None:
    part = killed(tmp_path)
    parts = Parts(tmp_path)
    parts.prepare()
    assert part.exists()  # it may be alive, for all that is known
    look(parts)
    assert not part.parent.exists()
    assert len(list((tmp_path / "incoming").glob("*.alive"))) == 1
    assert begin(parts).exists()


def test_a_process_that_runs_on_removes_them_too_a_minute_later(tmp_path: Path) -> None:
    part = killed(tmp_path)
    parts = Parts(tmp_path)
    parts.prepare()
    mine = begin(parts)
    look(parts, incoming.DEAD_LOOKS)
    assert part.exists()  # it may be alive, for all that is known
    parts.clean()
    assert not part.exists()
    assert mine.exists()
    look(parts)
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
    look(parts)
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
        for _ in range(incoming.DEAD_LOOKS):
            for parts in stores:
                beat(parts)
            for parts in stores:
                parts.clean()
        for parts in stores:
            beat(parts)
        threads = [threading.Thread(target=parts.clean) for parts in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for parts in stores:
            parts.clean()
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
    parts = Parts(tmp_path)
    parts.prepare()
    look(parts)
    assert part.parent.exists()
    assert not other.parent.exists()
    assert begin(parts).exists()


def test_a_start_removes_nothing_of_a_process_that_lives_however_late_its_heartbeat_is(tmp_path: Path) -> None:
    """As after a time in which a file system hung, or under a load that kept the heartbeat waiting."""
    first, second = Parts(tmp_path), Parts(tmp_path)
    first.prepare()
    part = begin(first)
    (alive,) = (tmp_path / "incoming").glob("*.alive")
    os.utime(alive, (0, 0))
    second.prepare()
    for _ in range(3):
        look(second, incoming.DEAD_LOOKS)
        assert part.exists()
        beat(first)  # in the last moment
    look(second)
    assert not part.parent.exists()


def test_a_process_that_was_taken_for_dead_lives_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.prepare()
    shutil.rmtree(tmp_path / "incoming")
    parts.beat()
    assert len(list((tmp_path / "incoming").glob("*.alive"))) == 1
    assert begin(parts).exists()


def test_looks_that_hang_together_count_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = killed(tmp_path)
    parts = Parts(tmp_path)
    parts.prepare()
    looking, go_on = threading.Event(), threading.Event()
    beat_of = incoming._beat_of

    def hang(alive: Path) -> int:
        looking.set()
        go_on.wait(LIVENESS_SECONDS)
        return beat_of(alive)

    monkeypatch.setattr(incoming, "_beat_of", hang)
    first = threading.Thread(target=parts.clean)
    first.start()
    assert looking.wait(LIVENESS_SECONDS)
    look(parts)  # returns at once
    go_on.set()
    first.join()
    look(parts, incoming.DEAD_LOOKS - 1)
    assert part.exists()
    parts.clean()
    assert not part.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_full_file_system_is_no_end_of_a_process_and_any_other_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    parts = Parts(tmp_path)
    parts.prepare()

    def failing(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "utime", failing)
    if code in (errno.ENOSPC, errno.EDQUOT):
        parts.beat()
    else:
        with pytest.raises(OSError, match=os.strerror(code)):
            parts.beat()
    monkeypatch.undo()
    assert len(list((tmp_path / "incoming").glob("*.alive"))) == 1
