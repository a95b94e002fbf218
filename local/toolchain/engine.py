"""Finds the Pulumi CLI, or installs the pinned version into the user's cache.

In this order: a new enough `pulumi` on PATH; what an earlier run installed; the official release, with its published
checksum; a build from the published Go module, whose sources `go.sum` pins.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local.paths import user_cache

VERSION = "3.259.0"
OLDEST_GO = (1, 25)
RELEASES = "https://github.com/pulumi/pulumi/releases/download"
_MODULE = "github.com/pulumi/pulumi"
_CONNECT_SECONDS = 10

Report = Callable[[str], None]


class EngineMissing(Exception):
    """No engine could be had; the message says what was tried and what to install."""


@dataclass
class EngineSetup:
    """`path` is a PATH to search, `cache` the folder that keeps what is installed, one folder a version."""

    report: Report
    cache: Path = field(default_factory=lambda: user_cache() / "pulumi")
    releases: str = RELEASES
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def ensure(self) -> Path:
        """The CLI's executable. Raises `EngineMissing`."""
        tried: list[str] = []
        for step in (self._on_path, self._in_cache):
            found = step(tried)
            if found is not None:
                return found
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineMissing(f"{self.cache}, where the engine is to be installed, can't be made: {error}") from error
        with self._lock():
            # Another clone may have installed it while this one waited.
            found = self._in_cache([])
            for step in (self._fetch, self._build):
                if found is None:
                    found = step(tried)
                    if found is None:
                        self.report(f"  not to be had: {tried[-1]}")
        if found is not None:
            return found
        raise EngineMissing(
            f"The Pulumi engine {VERSION} or newer is needed and could not be had. Tried:\n"
            + "".join(f"  - {line}\n" for line in tried)
            + "Install either of:\n"
            "  - the Pulumi CLI, from https://www.pulumi.com/docs/iac/download-install/\n"
            f"  - Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer, from https://go.dev/dl/\n"
            "    (the engine is then built once, in some minutes)\n"
            "and run the command again."
        )

    def _on_path(self, tried: list[str]) -> Path | None:
        found = shutil.which("pulumi", path=self.environment.get("PATH", ""))
        if found is None:
            tried.append("pulumi on PATH: there is none")
            return None
        version = _version_of(Path(found))
        if version >= _numbers(VERSION):
            return Path(found)
        shown = ".".join(map(str, version)) or "an unknown version"
        tried.append(f"pulumi on PATH: {found} is {shown}, older than {VERSION}")
        return None

    def _in_cache(self, tried: list[str]) -> Path | None:
        executable = self.cache / VERSION / "pulumi"
        if not executable.exists():
            return None
        if _version_of(executable) >= _numbers(VERSION):
            return executable
        tried.append(f"the cache: {executable} does not run")
        return None

    def _fetch(self, tried: list[str]) -> Path | None:
        archive = f"pulumi-v{VERSION}-{_platform_name()}.tar.gz"
        base = f"{self.releases}/v{VERSION}"
        self.report(f"fetching the Pulumi engine {VERSION} ({base}/{archive})")
        try:
            with tempfile.TemporaryDirectory() as scratch:
                sums = _get(f"{base}/pulumi-{VERSION}-checksums.txt").decode()
                expected = next((line.split()[0] for line in sums.splitlines() if line.endswith(archive)), None)
                if expected is None:
                    tried.append(f"the official release: no checksum is published for {archive}")
                    return None
                content = _get(f"{base}/{archive}")
                actual = hashlib.sha256(content).hexdigest()
                if actual != expected:
                    tried.append(f"the official release: {archive} has SHA-256 {actual}, published is {expected}")
                    return None
                file = Path(scratch, archive)
                file.write_bytes(content)
                with tarfile.open(file) as tar:
                    # The filter came with 3.11.4; the archive's checksum has been checked.
                    if hasattr(tarfile, "data_filter"):
                        tar.extractall(scratch, filter="data")
                    else:
                        tar.extractall(scratch)
                return self._install(Path(scratch, "pulumi"), "the official release", tried)
        # A proxy's or a portal's answer may be anything; the next way may still work.
        except (OSError, tarfile.TarError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            tried.append(f"the official release {base}/{archive}: {reason}")
            return None

    def _build(self, tried: list[str]) -> Path | None:
        go = shutil.which("go", path=self.environment.get("PATH", ""))
        if go is None:
            tried.append("building it with Go: there is no go on PATH")
            return None
        version = _go_version(go)
        if version < OLDEST_GO:
            tried.append(
                f"building it with Go: {go} is {'.'.join(map(str, version))}, older than {OLDEST_GO[0]}.{OLDEST_GO[1]}"
            )
            return None
        self.report(f"building the Pulumi engine {VERSION} with {go} (some minutes, once a machine)")
        with tempfile.TemporaryDirectory() as scratch:
            module = Path(scratch, "module")
            module.mkdir()
            for name in ("go.mod", "go.sum"):
                shutil.copyfile(Path(__file__).with_name(name), module / name)
            output = Path(scratch, "bin")
            output.mkdir()
            failure = self._compile(go, module, output / "pulumi")
            if failure is not None:
                tried.append(f"building it with Go: {failure}")
                return None
            return self._install(output, "building it with Go", tried)

    def _compile(self, go: str, module: Path, executable: Path) -> str | None:
        package = f"{_MODULE}/pkg/v3/cmd/pulumi"
        environment = dict(self.environment) | {
            "GOFLAGS": "-mod=readonly",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        }
        self.report("  downloading sources")
        listing = subprocess.run(
            [go, "list", "-deps", package], cwd=module, env=environment, capture_output=True, text=True, check=False
        )
        if listing.returncode != 0:
            return _last_lines(listing.stderr)
        total = len(listing.stdout.splitlines())
        flags = f"-s -w -X {_MODULE}/sdk/v3/go/common/version.Version=v{VERSION}"
        with subprocess.Popen(
            [go, "build", "-v", "-buildvcs=false", "-trimpath", "-ldflags", flags, "-o", str(executable), package],
            cwd=module,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as build:
            assert build.stderr is not None
            lines: list[str] = []
            for line in build.stderr:
                lines.append(line)
                if len(lines) % 100 == 0:
                    self.report(f"  compiled {len(lines)} of {total} packages")
        if build.returncode != 0:
            return _last_lines("".join(lines))
        self.report(f"  compiled, {executable.stat().st_size >> 20} MiB")
        return None

    def _install(self, folder: Path, way: str, tried: list[str]) -> Path | None:
        """Moves a folder with the executables into the cache, all at once, if the engine in it runs."""
        if _version_of(folder / "pulumi") < _numbers(VERSION):
            tried.append(f"{way}: what it brought does not run on this machine")
            return None
        staged = Path(tempfile.mkdtemp(prefix=".staged-", dir=self.cache))
        try:
            for file in folder.iterdir():
                shutil.copy2(file, staged / file.name)
                (staged / file.name).chmod(0o755)
            staged.chmod(0o755)
            target = self.cache / VERSION
            shutil.rmtree(target, ignore_errors=True)
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return target / "pulumi"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.cache / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.report("waiting for another set-up of the engine on this machine")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as response:
        content: bytes = response.read()
        return content


def _numbers(text: str) -> tuple[int, ...]:
    # A line of its own: warnings name other versions, and a pre-release is not the version that it comes before.
    match = re.search(r"(?m)^(?:v|go)?(\d+)\.(\d+)(?:\.(\d+))?$", text)
    return tuple(int(part) for part in match.groups() if part is not None) if match else ()


def _version_of(executable: Path) -> tuple[int, ...]:
    try:
        answer = subprocess.run([executable, "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _numbers(answer.stdout)


def _go_version(go: str) -> tuple[int, ...]:
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return _numbers(answer.stdout)[:2]


def _platform_name() -> str:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    return f"{platform.system().lower()}-{machine}"


def _last_lines(text: str, count: int = 3) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-count:]) or "it failed without a message"
