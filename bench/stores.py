"""Stores with very many files, made once and kept under ``.local/bench``.

Almost all are hard links to a few files: what a listing reads is names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import toolchain
from service.files import ids, record

# ext4 allows 65,000 links to one file.
_LINKS = 60_000
_STEP_NANOSECONDS = 100_000_000
_BEGIN_NANOSECONDS = 1_760_000_000_000_000_000


def nested(count: int) -> Path:
    """A store of this service: ``count`` files, ten a second, under ids of its own scheme."""
    key = hashlib.sha256(Path(ids.__file__).read_bytes()).hexdigest()[:8]
    return _made(f"store-{count}-{key}", lambda root: _nested_names(root, count))


def flat(count: int) -> Path:
    """``count`` files in one directory, as ``<uuid>.txt``."""
    return _made(f"flat-{count}", lambda root: (root / f"{uuid.uuid4()}.txt" for _ in range(count)))


def sample_ids(count: int, wanted: int) -> list[str]:
    """``wanted`` ids of ``nested(count)``, from its beginning to near its end."""
    listed = nested(count).with_suffix(".ids").read_text().split()
    last = max(1, len(listed) - 2000)
    return [listed[last * number // wanted] for number in range(wanted)]


def _nested_names(root: Path, count: int) -> Iterator[Path]:
    now = _BEGIN_NANOSECONDS

    def clock() -> int:
        return now

    source = ids.IdSource(clock)
    made: set[tuple[str, ...]] = set()
    with root.with_suffix(".ids").open("w") as listed:
        for _ in range(count):
            now += _STEP_NANOSECONDS
            file_id = source.next()
            steps = ids.directory(file_id)
            if steps not in made:
                root.joinpath(*steps).mkdir(parents=True, exist_ok=True)
                made.add(steps)
            listed.write(f"{file_id}\n")
            yield root.joinpath(*steps, file_id)


def _made(name: str, names: Callable[[Path], Iterator[Path]]) -> Path:
    root = toolchain.LOCAL / name
    done = root.with_suffix(".done")
    if done.exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    first: Path | None = None
    for number, path in enumerate(names(root)):
        if first is None or number % _LINKS == 0:
            first = path
            path.write_bytes(_content())
        else:
            os.link(first, path)
    done.touch()
    return root


def _content() -> bytes:
    content = b"x"
    digest = hashlib.sha256(content).hexdigest()
    return content + record.encode(record.Record(size=len(content), sha256=digest, content_type="text/plain"))
