"""The file system that plays EFS: what it counts, how it fails, and that it never leaves a dead mount."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import efs
from bench.efs import Efs, EfsError

pytestmark = pytest.mark.skipif(efs.unavailable() is not None, reason=str(efs.unavailable()))

LIVENESS_SECONDS = 20.0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Efs]:
    with efs.mounted(tmp_path / "disk", tmp_path / "mount") as mounted:
        (mounted.mount / "incoming").mkdir()
        (mounted.mount / "stored").mkdir()
        mounted.reset()
        yield mounted


def _upload(root: Path, name: str = "file") -> None:
    part, final = root / "incoming" / name, root / "stored" / name
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, b"x" * 1536)
    os.fsync(descriptor)
    os.close(descriptor)
    part.rename(final)
    directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def _download(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _await(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIVENESS_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_mounted(path: Path) -> bool:
    return any(line.split()[1] == str(path) for line in Path("/proc/self/mounts").read_text().splitlines())


def test_an_upload_is_five_round_trips_and_look_ups_before_creations_and_a_directorys_sync_are_none(
    volume: Efs,
) -> None:
    _upload(volume.mount)
    ops = volume.ops()
    assert ops.nfs == {"create": 1, "write": 1, "commit": 1, "close": 1, "rename": 1}
    assert ops.nfs_total == 5
    assert ops.fuse["lookup"] == 2
    assert ops.free["lookup_before_creation"] == 2
    assert ops.free["fsyncdir"] == 1


def test_a_download_is_three_round_trips_also_where_the_name_is_not_known_yet(tmp_path: Path) -> None:
    with efs.mounted(tmp_path / "disk", tmp_path / "mount") as volume:
        (tmp_path / "disk" / "file").write_bytes(b"x" * 1536)
        for _ in range(2):
            volume.reset()
            assert _download(volume.mount / "file") == b"x" * 1536
            assert volume.ops().nfs_total == 3
        assert volume.ops().nfs == {"open": 1, "read": 1, "close": 1}


def test_a_name_that_is_not_there_is_counted_apart(volume: Efs) -> None:
    assert not (volume.mount / "nothing").exists()
    ops = volume.ops()
    assert ops.nfs_total == 0
    assert ops.free == {"lookup_absent": 1}


def test_a_listing_takes_few_round_trips(volume: Efs, tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / "disk" / "stored" / f"{number:036d}").touch()
    volume.reset()
    assert len(list((volume.mount / "stored").iterdir())) == 1000
    assert 1 <= volume.ops().nfs["readdir"] <= 4


def test_operations_take_their_time(tmp_path: Path) -> None:
    with efs.mounted(tmp_path / "disk", tmp_path / "mount", read_ms=30, change_ms=50) as volume:
        began = time.perf_counter()
        (volume.mount / "directory").mkdir()
        assert time.perf_counter() - began >= 0.05


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "ESTALE"])
def test_a_fault_is_what_the_program_sees_until_it_is_healed(volume: Efs, name: efs.Errno) -> None:
    volume.fault(name, ["write"])
    with pytest.raises(OSError) as caught:
        _upload(volume.mount)
    assert caught.value.errno == getattr(errno, name)
    volume.heal()
    _upload(volume.mount, "another")


def test_a_fault_may_come_by_chance(volume: Efs) -> None:
    volume.fault("EIO", ["mkdir"], probability=0.5)
    failures = 0
    for number in range(60):
        try:
            (volume.mount / f"{number}").mkdir()
        except OSError:
            failures += 1
    assert 0 < failures < 60


def test_what_it_does_not_know_is_refused_with_what_is_allowed(volume: Efs) -> None:
    with pytest.raises(EfsError, match='ops has "writing"; allowed: all, copyfilerange'):
        volume.fault("EIO", ["writing"])
    with pytest.raises(EfsError, match="probability is 2; allowed"):
        volume.fault("EIO", probability=2)


def test_a_mount_may_become_read_only_and_writable_again(volume: Efs) -> None:
    volume.remount(read_only=True)
    with pytest.raises(OSError) as caught:
        _upload(volume.mount)
    assert caught.value.errno == errno.EROFS
    volume.remount(read_only=False)
    _upload(volume.mount)
    with (volume.mount / "stored" / "file").open("ab"), pytest.raises(EfsError, match=r"can't remount .*busy"):
        volume.remount(read_only=True)


def test_a_hang_ends_when_it_is_healed(volume: Efs) -> None:
    _upload(volume.mount)
    volume.hang()
    reader = subprocess.Popen([sys.executable, "-c", f"open({str(volume.mount / 'stored/file')!r}, 'rb').read()"])
    try:
        _await(lambda: volume.ops().hung > 0)
        assert reader.poll() is None
        volume.heal()
        assert reader.wait(LIVENESS_SECONDS) == 0
    finally:
        reader.kill()
        reader.wait()


def test_a_process_that_hangs_can_be_killed_but_not_interrupted(volume: Efs) -> None:
    _upload(volume.mount)
    volume.hang()
    script = (
        f"import signal; signal.signal(signal.SIGTERM, lambda *_: None); open({str(volume.mount / 'stored/file')!r})"
    )
    reader = subprocess.Popen([sys.executable, "-c", script])
    try:
        _await(lambda: volume.ops().hung > 0)
        reader.terminate()
        time.sleep(0.2)
        assert reader.poll() is None
    finally:
        reader.kill()
    assert reader.wait(LIVENESS_SECONDS) == -signal.SIGKILL
    volume.heal()
    assert _download(volume.mount / "stored" / "file")


def test_it_unmounts_while_operations_hang_and_files_are_open(tmp_path: Path) -> None:
    with efs.mounted(tmp_path / "disk", tmp_path / "mount") as volume:
        path = volume.mount / "file"
        (tmp_path / "disk" / "file").write_bytes(b"x")
        script = f"import sys\nsys.stdin.readline()\ntry: open({str(path)!r})\nexcept OSError: sys.exit(3)"
        # Before the file is open here: a process that is being made closes what it inherits, and would hang.
        reader = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
        assert reader.stdin is not None
        kept = os.open(path, os.O_RDONLY)
        volume.hang()
        reader.stdin.close()
        _await(lambda: volume.ops().hung > 0)
    with contextlib.suppress(OSError):  # the file system is gone
        os.close(kept)
    assert reader.wait(LIVENESS_SECONDS) == 3
    assert not _is_mounted(tmp_path / "mount")
    assert list((tmp_path / "mount").iterdir()) == []


def test_it_ends_with_the_process_that_mounted_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, time\nfrom bench import efs\n"
        f"with efs.mounted(pathlib.Path({str(tmp_path / 'disk')!r}), pathlib.Path({str(tmp_path / 'mount')!r})):\n"
        "    print('mounted', flush=True)\n    time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline() == b"mounted\n"
    owner.kill()
    owner.wait()
    _await(lambda: not _is_mounted(tmp_path / "mount"))


def test_a_mount_whose_daemon_was_killed_is_taken_away(tmp_path: Path) -> None:
    with efs.mounted(tmp_path / "disk", tmp_path / "mount") as volume:
        os.kill(volume.pid, signal.SIGKILL)
        _await(lambda: not _answers(volume))
    assert not _is_mounted(tmp_path / "mount")
    with efs.mounted(tmp_path / "disk", tmp_path / "mount") as volume:
        (volume.mount / "directory").mkdir()


def _answers(volume: Efs) -> bool:
    try:
        volume.ops()
    except EfsError:
        return False
    return True


def test_a_mount_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises((EfsError, FileExistsError)), efs.mounted(tmp_path / "disk", tmp_path / "file"):
        pass
