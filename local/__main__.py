"""The local stack's commands; `make` calls them."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import errno
import importlib
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from local.isolation import isolate
from local.paths import LocalPaths, local_paths
from local.session_lock import SessionFailed, only_session
from local.toolchain.engine import EngineMissing, EngineSetup

if TYPE_CHECKING:
    from local.control import Session

DEFAULT_PORT = 8080
DEFAULT_CLOUD_PORT = 4566


def say(line: str) -> None:
    print(line, flush=True)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.umask(0o077)
    isolate()
    try:
        return int(options.run(options, local_paths()))
    except KeyboardInterrupt:
        return 130
    except EngineMissing as error:
        complain(str(error))
        return 1
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC}:
            raise
        complain(f"{error.filename}: {error.strerror}; LOCAL_DIR names another folder for the local stack to write to")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    up = commands.add_parser("up", help="bring the whole stack up on this machine, until Ctrl-C")
    up.add_argument("--port", type=_port, default=DEFAULT_PORT, help="the load balancer's port (default %(default)s)")
    up.add_argument(
        "--cloud-port", type=_port, help=f"the embedded AWS's port (default {DEFAULT_CLOUD_PORT}, or any free one)"
    )
    up.set_defaults(run=_up)
    deploy = commands.add_parser("deploy", help="deploy the program as it is now to the running stack")
    deploy.set_defaults(run=_deploy)
    preview = commands.add_parser("preview", help="plan a stack, without an account")
    preview.add_argument("stack", help="the name in Pulumi.<name>.yaml")
    preview.set_defaults(run=_preview)
    clean = commands.add_parser("clean", help="delete the local stack with everything it has stored")
    clean.set_defaults(run=_clean)
    setup = commands.add_parser("setup", help="find, fetch or build the engine")
    setup.set_defaults(run=lambda options, paths: _engine_path() is None)
    engine_up = commands.add_parser("engine-up", help=argparse.SUPPRESS)
    engine_up.add_argument("--endpoint")
    engine_up.set_defaults(run=_engine_up)
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use a number from 1 to 65535, as in make up PORT=9090")
    return int(text)


def _engine_path() -> Path:
    given = os.environ.get("LOCAL_ENGINE")
    return Path(given) if given else EngineSetup(say).ensure()


def _up(options: argparse.Namespace, paths: LocalPaths) -> int:
    from local.engine import EngineFailed
    from local.runner.host import is_free
    from local.session import UpSession

    try:
        with only_session(paths):
            _check_port(options.port)
        executable = _engine_path()
        cloud_port = options.cloud_port or (DEFAULT_CLOUD_PORT if is_free(DEFAULT_CLOUD_PORT, "127.0.0.1") else 0)
        session = UpSession(executable, paths, options.port, cloud_port, _region(paths), say)
        return asyncio.run(session.run())
    except (SessionFailed, EngineFailed) as error:
        complain(f"make up: {error}")
        return 1


def _deploy(options: argparse.Namespace, paths: LocalPaths) -> int:
    from local.control import NoSession, announce
    from local.deployment import deploy, engine_turn, reconcile
    from local.engine import Engine, EngineFailed

    try:
        session = _running_session(paths)
        engine = Engine(_engine_path(), paths, cloud_endpoint=session.cloud_endpoint, output=say)
        started = time.monotonic()
        with engine_turn(paths, say):
            engine.unlock()
            reconcile(engine, engine.deployment(), session.cloud_endpoint, restart=False)
            deployed = deploy(engine)
            failure = asyncio.run(announce(session, deployed.resources, say))
    except (NoSession, EngineFailed) as error:
        complain(f"make deploy: {error}")
        return 1
    if failure is not None:
        complain(f"make deploy: {failure}")
        return 1
    say(f"deployed: http://127.0.0.1:{session.port}  ({time.monotonic() - started:.1f} s)")
    return 0


def _running_session(paths: LocalPaths) -> Session:
    from local.control import NoSession, Session

    try:
        return Session.read(paths.session)
    except NoSession:
        try:
            with only_session(paths):
                raise
        except SessionFailed:
            raise NoSession("`make up` is still starting, or stopping: wait until it is ready") from None


def _preview(options: argparse.Namespace, paths: LocalPaths) -> int:
    from local.deployment import engine_turn
    from local.engine import Engine, EngineFailed

    executable = _engine_path()
    started = time.monotonic()
    try:
        with engine_turn(paths, say):
            Engine(executable, paths, output=say).preview(options.stack)
    except EngineFailed as error:
        complain(f"make preview: {error}")
        return 1
    say(f"previewed {options.stack} in {time.monotonic() - started:.1f} s")
    return 0


def _clean(options: argparse.Namespace, paths: LocalPaths) -> int:
    if not paths.folder.is_dir():
        return 0
    try:
        with only_session(paths):
            for entry in paths.entries():
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
    except SessionFailed as error:
        complain(f"make clean: {error}")
        return 1
    if any(paths.folder.iterdir()):
        say(f"{paths.folder} stays: it holds what is not the local stack's")
    else:
        paths.folder.rmdir()
    return 0


def _engine_up(options: argparse.Namespace, paths: LocalPaths) -> int:
    """The deployment of `make up`, in a process of its own: progress on stderr, the result as JSON on stdout."""
    import urllib.request

    # The program's SDK takes two seconds to import; they pass while the state is read and the embedded AWS starts.
    threading.Thread(target=importlib.import_module, args=["components"], daemon=True).start()
    from local.deployment import deploy, engine_turn, reconcile
    from local.engine import Engine, EngineFailed

    engine = Engine(_engine_path(), paths, output=complain)
    try:
        with engine_turn(paths, complain):
            engine.unlock()
            deployment = engine.deployment()
            endpoint = options.endpoint or sys.stdin.readline().strip()
            if not endpoint:
                return 1
            for urn in reconcile(engine, deployment, endpoint, restart=True):
                complain(f"an interrupted deployment was working on {urn.rpartition('::')[2]}: taken up again")
            urllib.request.urlopen(f"{endpoint}/_local/restore", timeout=60).close()
            deployed = deploy(dataclasses.replace(engine, cloud_endpoint=endpoint))
    except EngineFailed as error:
        complain(str(error))
        return 1
    json.dump({"resources": list(deployed.resources), "changes": dict(deployed.changes)}, sys.stdout)
    return 0


def _region(paths: LocalPaths) -> str:
    """The region that the stack file names. Raises `SessionFailed` when the stack is deployed in another."""
    from local.engine import LOCAL_STACK, Engine
    from local.providers.aws.place import DEFAULT_REGION

    region = str(Engine(Path(), paths).config_value(LOCAL_STACK, "aws:region") or DEFAULT_REGION)
    deployed = paths.region.read_text() if paths.region.exists() else region
    if deployed != region:
        raise SessionFailed(
            f"aws:region in Pulumi.local.yaml is {region}, but the local stack is deployed in {deployed}: "
            "set it back, or delete the local stack with `make clean`"
        )
    paths.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths.region.write_text(region)
    return region


def _check_port(port: int) -> None:
    from local.runner.host import is_free

    # Told now, before anything has been started for nothing.
    if not is_free(port, "127.0.0.1"):
        raise SessionFailed(
            f"port {port} is in use: stop what listens there, or choose another one, as in make up PORT=9090"
        )


if __name__ == "__main__":
    sys.exit(main())
