"""What is measured: this service, and the peers that it is compared with. Each is started with a directory of its own.

This service also comes as variants, named ``service@<variant>``: ``before`` (as another revision has it), ``stock`` (behind
uvicorn's own HTTP protocol), and a version of Python, such as ``3.13``.
"""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import client, machine, processes, toolchain
from bench.client import Load, LoadFailed
from bench.cloud import Cloud
from bench.processes import Process

LABELS = {
    "service": "this service",
    "service-few": "this service, 10,000 files",
    "worker": "this service's worker",
    "nethttp": "Go net/http, the same guarantees",
    "nethttp-fanout": "Go net/http, the same, 256 directories",
    "nethttp-plain": "Go net/http, no sync and no digest",
    "fiber": "Go Fiber, as the original service",
    "nginx": "nginx, no sync and no digest",
    "fastapi": "FastAPI + boto3, one call a message",
    "plain-worker": "plain worker, one by one",
    "service@stock": "this service behind uvicorn's own protocol",
    "service@before": "this service before",
    "worker@before": "this service's worker before",
}
NEWEST = "3.13"
LABELS[f"service@{NEWEST}"] = f"this service on Python {NEWEST}"

# Large bodies, or a thousand slow clients, must not run into a limit that is not what is measured.
_ROOM = {"FILES_MAX_UPLOADS": "2000", "FILES_AUTH": "none", "DRAIN_SECONDS": "0"}

_NGINX = """
daemon off;
worker_processes 1;
error_log stderr;
pid {root}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    client_max_body_size 0;
    # Above 64 KiB a write may allocate in large folios, which some virtual machines pay for dearly.
    client_body_buffer_size 64k;
    client_body_temp_path {root}/incoming;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /dav/ {{ root {root}; dav_methods PUT DELETE; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A candidate that runs."""

    name: str
    process: Process
    port: int
    root: Path

    def upload(self, **more: object) -> Load:
        """A load of uploads, of ``body_bytes`` each."""
        if self.name == "nginx":
            # Names of its own for each load: to replace a file is other work than to make one.
            path = f"/dav/{time.monotonic_ns()}-{{n}}"
            return Load(method="PUT", path=path, expect=201, **more)  # type: ignore[arg-type]
        headers = ["Content-Type: text/plain"]
        return Load(method="POST", path="/arquivos", expect=201, headers=headers, **more)  # type: ignore[arg-type]

    def put(self, name: str, body: bytes) -> str:
        """Stores ``body`` and returns the path to get it at; ``name`` is only a proposal. Raises LoadFailed."""
        if self.name == "nginx":
            path = f"/dav/{name}"
            status, _, answer = client.ask(self.port, "PUT", path, body)
        else:
            status, _, answer = client.ask(self.port, "POST", "/arquivos", body, {"Content-Type": "text/plain"})
            path = f"/arquivos/{Path(json.loads(answer)['file']).stem}" if status == 201 else ""
        if status != 201:
            raise LoadFailed(f"an upload of {len(body)} bytes was answered with {status}: {answer[:200]!r}")
        return path

    def check(self, size: int) -> None:
        """Stores ``size`` bytes and reads them again. Raises LoadFailed if they are others."""
        body = os.urandom(size)
        status, _, found = client.ask(self.port, "GET", self.put("check", body))
        if status != 200 or found != body:
            raise LoadFailed(f"what was read is not what was stored: status {status}, {len(found)} of {size} bytes")
        self.clear()

    def clear(self) -> None:
        """Removes every file, and lets the disk come to rest."""
        for directory, _, names in os.walk(self.root):
            for name in names:
                if not name.endswith(".pid"):
                    with contextlib.suppress(FileNotFoundError):
                        Path(directory, name).unlink()
        os.sync()


class Candidates:
    """Starts candidates; what they write goes to ``logs``, a file each.

    ``before`` is a revision of the repository: the service as it has it is measured wherever the service is.
    """

    def __init__(self, cloud: Cloud, logs: Path, *, before: str | None = None) -> None:
        self._cloud = cloud
        self._logs = logs
        self._before = _image(before) if before is not None else None
        self._newest: Path | None = None
        self.image = _image()

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of ``names`` that can be run here, and with the service the one of before, if that is asked for."""
        found = [name for name in names if self.absent(name) is None]
        if self._before is not None:
            found += [f"{name}@before" for name in names if name in ("service", "worker")]
        return found

    def absent(self, name: str) -> str | None:
        """Why a candidate can't be run here, or None."""
        if name == "nginx" and machine.nginx_version() is None:
            return "not installed"
        if name == f"service@{NEWEST}" and _python(NEWEST) is None:
            return f"there is no python{NEWEST}"
        return None

    @contextlib.contextmanager
    def running(
        self, name: str, root: Path, *, listening: bool = True, prefix: Sequence[str] = (), seconds: float = 30.0
    ) -> Iterator[Server]:
        """Starts ``name`` with the files in ``root``, which is made if missing. Raises StartFailed.

        ``prefix`` goes before the command; the process started is to become the server. ``seconds``: to listen.
        """
        root.mkdir(parents=True, exist_ok=True)
        port = processes.free_port()
        arguments, env, cwd = self._command(name, root, port)
        command = [*prefix, *arguments]
        with processes.running(command, log=self._logs / f"{name}.log", env=env, cwd=cwd) as process:
            if listening:
                processes.await_listening(process, port, seconds)
            yield Server(name, process, port, root)

    def _command(self, name: str, root: Path, port: int) -> tuple[list[str | Path], dict[str, str], Path | None]:
        plain = {"PATH": os.environ["PATH"], "HOME": str(root)} | self._cloud.environment()
        address = f"127.0.0.1:{port}"
        base, _, variant = name.partition("@")
        if base in ("service", "worker"):
            command = "api" if base == "service" else "worker"
            image = self.image if variant != "before" or self._before is None else self._before
            env = plain | environment_of_image() | {"PYTHONPATH": str(image)} | _ROOM
            env |= {"FILES_DIR": str(root), "PORT": str(port)}
            if variant == "stock":
                return [sys.executable, toolchain.ROOT / "bench/peers/stock_uvicorn.py"], env, image
            return (
                [self._newest_python() if variant == NEWEST else sys.executable, "-m", "service", command],
                env,
                image,
            )
        if name.startswith("nethttp"):
            flags = {"nethttp-plain": ["-durable=false", "-digest=false"], "nethttp-fanout": ["-fanout"]}.get(name, [])
            return [toolchain.build("nethttp"), "-listen", address, "-dir", root, *flags], plain, None
        if name == "fiber":
            return [toolchain.build("fiber"), "-listen", address, "-dir", root], plain, None
        if name == "fastapi":
            app = ["bench.peers.fastapi_ingest:app", "--port", str(port), "--no-access-log", "--log-level", "warning"]
            return [sys.executable, "-m", "uvicorn", *app], plain | {"PYTHONPATH": str(toolchain.ROOT)}, None
        if name == "plain-worker":
            env = plain | {"PYTHONPATH": str(toolchain.ROOT)}
            return [sys.executable, "-m", "bench.peers.plain_worker"], env, None
        if name == "nginx":
            (root / "dav").mkdir(exist_ok=True)
            config = root / "nginx.conf.pid"
            user = "user root;\n"
            config.write_text(user + _NGINX.format(root=root, port=port))
            return ["nginx", "-p", root, "-c", config], plain, None
        raise ValueError(f"candidate is {name!r}; allowed: {', '.join(LABELS)}")

    def _newest_python(self) -> Path:
        """The newest Python, with what the service needs."""
        if self._newest is None:
            python, folder = _python(NEWEST), toolchain.LOCAL / f"venv-{NEWEST}"
            assert python is not None
            subprocess.run([python, "-m", "venv", folder], check=True)
            pip: list[str | Path] = [
                folder / "bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            subprocess.run([*pip, "-r", toolchain.ROOT / "service/requirements.txt"], check=True)
            self._newest = folder / "bin/python"
        return self._newest


def environment_of_image() -> dict[str, str]:
    """The variables that the service's image sets, but for PATH, which leads to its own interpreter."""
    dockerfile = (toolchain.ROOT / "service" / "Dockerfile").read_text()
    found: dict[str, str] = {}
    for line in dockerfile.replace("\\\n", " ").splitlines():
        if line.startswith("ENV "):
            found |= dict(pair.split("=", 1) for pair in line.split()[1:] if "=" in pair)
    found.pop("PATH", None)
    return found


def _image(revision: str | None = None) -> Path:
    """The service as it lies in its image: compiled beforehand, apart from the sources that may change meanwhile.

    With ``revision``, as that one of the repository has it.
    """
    image = toolchain.LOCAL / ("image" if revision is None else "image-before")
    toolchain.LOCAL.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=toolchain.LOCAL))
    source = toolchain.ROOT
    if revision is not None:
        source = fresh / "source"
        source.mkdir()
        archive: list[str | Path] = ["git", "-C", toolchain.ROOT, "archive", revision, "service"]
        packed = subprocess.run(archive, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "--extract", "--directory", source], check=True, input=packed)
    not_in_it = shutil.ignore_patterns("__pycache__", "Dockerfile", ".dockerignore", "requirements*")
    shutil.copytree(source / "service", fresh / "service", ignore=not_in_it)
    compileall.compile_dir(fresh / "service", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    shutil.rmtree(image, ignore_errors=True)
    fresh.replace(image)
    return image


def _python(version: str) -> Path | None:
    """An interpreter of ``version``, on PATH or where pyenv keeps it, or None."""
    if (found := shutil.which(f"python{version}")) is not None and _is(version, Path(found)):
        return Path(found)
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return kept[-1] if kept else None


def _is(version: str, python: Path) -> bool:
    # pyenv puts a command on PATH for every version, also for those that it does not run.
    said = subprocess.run([python, "--version"], capture_output=True, text=True)
    return said.returncode == 0 and said.stdout.startswith(f"Python {version}.")
