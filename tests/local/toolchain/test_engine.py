from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import tarfile
from pathlib import Path

import pytest

from local.toolchain.engine import VERSION, EngineMissing, EngineSetup


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


class Machine:
    """A machine with nothing on it: an empty PATH, an empty cache, a folder that stands for the releases' host."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.cache, self.releases = folder / "bin", folder / "cache", folder / "releases"
        self.bin.mkdir()
        # What the scripts here are run by.
        (self.bin / "sh").symlink_to("/bin/sh")
        self.reports: list[str] = []
        self.setup = EngineSetup(
            self.reports.append, self.cache, f"file://{self.releases}", {"PATH": str(self.bin), "HOME": str(folder)}
        )

    def release(self, checksum: str | None = None, version: str = VERSION) -> None:
        machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}[platform.machine().lower()]
        name = f"pulumi-v{VERSION}-{platform.system().lower()}-{machine}.tar.gz"
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as tar:
            for file in ("pulumi", "pulumi-language-python"):
                body = f"#!/bin/sh\necho v{version}\n".encode()
                info = tarfile.TarInfo(f"pulumi/{file}")
                info.size, info.mode = len(body), 0o755
                tar.addfile(info, io.BytesIO(body))
        folder = self.releases / f"v{VERSION}"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content.getvalue())
        checksum = checksum or hashlib.sha256(content.getvalue()).hexdigest()
        (folder / f"pulumi-{VERSION}-checksums.txt").write_text(f"{'0' * 64}  other.tar.gz\n{checksum}  {name}\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_new_enough_engine_on_path_is_taken(machine: Machine) -> None:
    found = script(machine.bin, "pulumi", "echo v3.300.1")
    assert machine.setup.ensure() == found
    assert not machine.cache.exists()


def test_an_old_engine_on_path_is_not_taken(machine: Machine) -> None:
    script(machine.bin, "pulumi", "echo v3.99.0")
    machine.release()
    assert machine.setup.ensure() == machine.cache / VERSION / "pulumi"


def test_the_official_release_is_fetched_once_a_machine(machine: Machine) -> None:
    machine.release()
    executable = machine.setup.ensure()
    assert os.access(executable, os.X_OK)
    assert (executable.parent / "pulumi-language-python").exists()
    for file in machine.releases.rglob("*.gz"):
        file.unlink()
    again = EngineSetup(machine.reports.append, machine.cache, "file:///nowhere", {"PATH": ""})
    assert again.ensure() == executable


def test_a_release_with_another_checksum_is_not_installed(machine: Machine) -> None:
    machine.release(checksum="f" * 64)
    with pytest.raises(EngineMissing, match=f"published is {'f' * 64}"):
        machine.setup.ensure()
    assert not (machine.cache / VERSION).exists()


def test_without_any_way_one_message_says_what_was_tried_and_what_to_install(machine: Machine) -> None:
    script(machine.bin, "pulumi", "echo v3.1.0")
    script(machine.bin, "go", "echo go1.21.3")
    with pytest.raises(EngineMissing) as raised:
        machine.setup.ensure()
    message = str(raised.value)
    assert "is 3.1.0, older than 3.259.0" in message
    assert "the official release file://" in message
    assert "is 1.21, older than 1.25" in message
    assert "https://www.pulumi.com/docs/iac/download-install/" in message
    assert "https://go.dev/dl/" in message


def test_with_go_the_published_module_is_built(machine: Machine) -> None:
    script(
        machine.bin,
        "go",
        """
case "$1" in
  env) echo go1.26.8;;
  list) for i in 1 2 3; do echo package; done;;
  build)
    for i in $(seq 1 200); do echo "package $i" >&2; done
    while [ "$1" != "-o" ]; do shift; done
    printf '#!/bin/sh\\necho v3.259.0\\n' > "$2"
    chmod +x "$2";;
esac""",
    )
    for tool in ("seq", "chmod"):
        (machine.bin / tool).symlink_to(str(shutil.which(tool)))
    executable = machine.setup.ensure()
    assert os.access(executable, os.X_OK)
    assert "echo v3.259.0" in executable.read_text()
    assert "  compiled 100 of 3 packages" in machine.reports, "progress is shown while it builds"


def test_a_build_that_fails_says_how(machine: Machine) -> None:
    script(machine.bin, "go", 'case "$1" in env) echo go1.26;; *) echo "no network" >&2; exit 1;; esac')
    with pytest.raises(EngineMissing, match="building it with Go: no network"):
        machine.setup.ensure()


def test_a_release_that_does_not_run_is_not_installed(machine: Machine) -> None:
    machine.release(version="3.1.0")
    with pytest.raises(EngineMissing, match="the official release: what it brought does not run"):
        machine.setup.ensure()
    assert [file.name for file in machine.cache.iterdir()] == [".lock"]


def test_a_cached_engine_that_does_not_run_is_replaced(machine: Machine) -> None:
    (machine.cache / VERSION).mkdir(parents=True)
    (machine.cache / VERSION / "pulumi").touch(mode=0o755)
    machine.release()
    assert "echo" in machine.setup.ensure().read_text()


def test_an_answer_that_is_no_checksum_file_is_not_the_end(machine: Machine) -> None:
    machine.release()
    (machine.releases / f"v{VERSION}" / f"pulumi-{VERSION}-checksums.txt").write_bytes(b"\xff\xfe portal")
    with pytest.raises(EngineMissing, match="the official release"):
        machine.setup.ensure()


def test_a_cache_that_cannot_be_made_is_named(machine: Machine) -> None:
    machine.cache.write_text("a file")
    with pytest.raises(EngineMissing, match="can't be made"):
        machine.setup.ensure()


@pytest.mark.parametrize("answer", ["warning: A new version 3.300.0 is out\nv3.100.0", "v3.259.0-alpha.17", "unknown"])
def test_only_the_versions_own_line_counts(machine: Machine, answer: str) -> None:
    script(machine.bin, "pulumi", f"printf '{answer}\\n'")
    machine.release()
    assert machine.setup.ensure().is_relative_to(machine.cache)


def test_the_pins_of_the_module_and_of_the_sdk_are_the_same() -> None:
    root = Path(__file__).resolve().parents[3]
    module = (root / "local" / "toolchain" / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/pkg/v3 v{VERSION}" in module
    assert f"pulumi=={VERSION} " in (root / "requirements.txt").read_text()
