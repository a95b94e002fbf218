"""Stores a file in a process that records each step on the file system, or in processes that die at one.

    python -m tests.service.crash_steps <store> <content bytes>

prints a JSON list with an object a step.

    python -m tests.service.crash_steps <folder> <content bytes> <step>-<before|after|half> ...

does it once for each, in a store of that name in the folder and in a forked process that is killed with SIGKILL: before
the step, after it, or, if the step writes, when half of its bytes are written. Prints a JSON list of how each ended, as a
returncode of subprocess. Steps are counted from 0.

The functions of ``os`` are replaced before the service is imported: nothing below the service's own code takes part, so
a step is what the service asks of the kernel.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("mkdir", "rmdir", "rename", "replace", "link", "symlink", "unlink", "remove", "truncate", "close")
WRITES = ("write", "writev", "pwrite", "pwritev", "sendfile", "copy_file_range", "splice")
SYNCS = ("fsync", "fdatasync")

_real_write, _real_readlink = os.write, os.readlink


class Steps:
    def __init__(self) -> None:
        self.begin("\0")

    def begin(self, root: str, die_at: int = -1, when: str = "") -> None:
        """From now on steps below ``root`` count."""
        self.seen: list[dict[str, Any]] = []
        self._root = root
        self._die_at = die_at
        self._when = when

    def watch(self) -> None:
        for name in ("open", "ftruncate", *CHANGES, *WRITES, *SYNCS):
            setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*arguments: Any, **named: Any) -> Any:
            folders = (named.get("dir_fd", named.get("src_dir_fd")), named.get("dst_dir_fd"))
            paths = [self._path(*pair) for pair in zip(arguments, folders, strict=False)]
            if not any(path.startswith(self._root + "/") or path == self._root for path in paths):
                return call(*arguments, **named)
            self._die("before")
            if name == "write" and self._when == "half" and len(self.seen) == self._die_at:
                view = memoryview(arguments[1])
                _real_write(arguments[0], view[: len(view) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **named)
            step: dict[str, Any] = {"call": name, "paths": [path for path in paths if path.startswith(self._root)]}
            if name in WRITES:
                step["bytes"] = result
            elif name == "open":
                step["flags"] = arguments[1]
            self._die("after")
            self.seen.append(step)
            return result

        return watched

    def _path(self, argument: Any, folder: int | None) -> str:
        if folder is not None:
            return f"{self._path(folder, None)}/{os.fspath(argument)}"
        if isinstance(argument, int):
            try:
                return _real_readlink(f"/proc/self/fd/{argument}")
            except OSError:
                return ""
        return os.fspath(argument) if isinstance(argument, str | os.PathLike) else ""

    def _die(self, when: str) -> None:
        if self._when == when and len(self.seen) == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _store(steps: Steps, root: str, size: int) -> None:
    from service.files.store import FileStore  # not sooner: it may take functions of os as defaults

    store = FileStore(Path(root))
    store.prepare()
    part = store.begin("text/plain")
    content = bytes(range(256)) * (size // 256 + 1)
    half = size // 2
    part.write([content[:half]])
    stored = part.publish([content[half:size]])
    steps.seen.append({"call": "answer", "paths": [], "id": stored.file_id})
    part.discard()


def _died(steps: Steps, root: str, size: int, number: int, when: str) -> int:
    """How a process that was to die in the store ``root`` has ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        Path(root).mkdir()
        steps.begin(root, number, when)
        _store(steps, root, size)
    finally:
        os._exit(0)  # it lives on: a failure


def main(arguments: list[str]) -> None:
    folder, size, deaths = arguments[0], int(arguments[1]), [death.split("-") for death in arguments[2:]]
    steps = Steps()
    steps.watch()
    importlib.import_module("service.files.store")  # once for all processes
    if deaths:
        print(json.dumps([_died(steps, f"{folder}/{step}-{when}", size, int(step), when) for step, when in deaths]))
    else:
        steps.begin(folder)
        _store(steps, folder, size)
        print(json.dumps(steps.seen))


if __name__ == "__main__":
    main(sys.argv[1:])
