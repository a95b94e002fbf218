"""No name leads anywhere but to a file of the store: not by its spelling, and not by what someone has planted there."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.files import ids
from service.files.store import FileStore
from tests.service.conftest import Aws
from tests.service.file_server import check_whole, file_env, listed, names_on_disk, path_of
from tests.service.harness import PROBLEM, Process, started
from tests.service.raw_http import Connection, ask

ABSENT = "01978a3b-2c1d-7000-8000-000000000000"
SECRET = b"canary, never to be seen"


@dataclass
class Place:
    """A store, what lies beside it, and a process that serves the one and must not touch the other."""

    process: Process
    files: Path
    outside: Path
    canary_id: str
    """The id of a whole and valid file in another store, in ``outside``."""
    stored_id: str
    """The id of a file in the store itself."""

    @property
    def port(self) -> int:
        return self.process.port

    @property
    def canary(self) -> Path:
        return path_of(self.outside, self.canary_id)

    def seen_outside(self) -> list[tuple[str, int, int, int, int]]:
        """What there is outside, its size and when it was last read and written."""
        found = [self.outside, *sorted(self.outside.rglob("*"))]
        states = [(path, path.lstat()) for path in found]
        # Reading a folder for this very list changes its access time, hence of files only.
        return [
            (str(path), s.st_size, s.st_mtime_ns, s.st_nlink, s.st_atime_ns if stat.S_ISREG(s.st_mode) else 0)
            for path, s in states
        ]


@pytest.fixture(scope="module")
def place(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    files, outside = tmp_path_factory.mktemp("store") / "files", tmp_path_factory.mktemp("outside")
    canary_id = _put(outside, SECRET)
    (outside / "secret.txt").write_bytes(SECRET)
    for path in outside.rglob("*"):
        os.utime(path, (0, 0))  # long ago, so that even a mount with relatime notes the next access
    log = tmp_path_factory.mktemp("log") / "log"
    with started("api", file_env(aws, files), log, measure=False) as process:
        stored_id = ask(process.port, "POST", "/arquivos", b"stored").json()["id"]
        yield Place(process, files, outside, canary_id, stored_id)
        assert 500 not in {line["status"] for line in process.requests()}


def _put(root: Path, content: bytes) -> str:
    store = FileStore(root)
    store.prepare()
    part = store.begin("text/plain")
    file_id = part.publish([content]).file_id
    part.discard()
    store.close()
    return file_id


@pytest.fixture
def nothing_touched_outside(place: Place) -> Iterator[None]:
    before = place.seen_outside()
    yield
    assert place.seen_outside() == before


def _assert_not_found(place: Place, target: bytes) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        answer = ask(place.port, method, target)
        assert answer.status == 404, (method, target, answer)
        assert answer.headers["content-type"] == PROBLEM
        assert SECRET not in answer.body


TRAVERSALS = [
    b"../secret.txt",
    b"../../outside/secret.txt",
    b"..%2fsecret.txt",
    b"..%2f..%2f..%2f..%2fetc%2fpasswd",
    b"%2e%2e/secret.txt",
    b"%2e%2e%2fsecret.txt",
    b"%2E%2E%2Fsecret.txt",
    b"%252e%252e%252fsecret.txt",
    b"..%255csecret.txt",
    b"..\\secret.txt",
    b"..%5c..%5csecret.txt",
    b"....//secret.txt",
    b"..;/secret.txt",
    b"%c0%ae%c0%ae%c0%afsecret.txt",
    b"%e0%80%ae%e0%80%ae%e0%80%afsecret.txt",
    b"%uff0e%uff0e%u2215secret.txt",
    b"%ef%bc%8e%ef%bc%8e%ef%bc%8fsecret.txt",
    b".",
    b"..",
    b"%2e",
    b"%2e%2e",
    b"./{id}",
    b"{id}/..",
    b"{id}/../{id}",
    b"..%2farquivos%2f{id}",
    b"{folder}/{id}",
    b"{folder}%2f{id}",
    b"/{id}",
    b"%2f{id}",
    b"{root}",
    b"{encoded_root}",
    b"file:%2f%2f%2fetc%2fpasswd",
]
NAMES = [
    b"incoming",
    b"incoming%2f1.part",
    b"incoming/{process}/1.part",
    b"{folder}",
    b"CON",
    b"NUL",
    b"nul.txt",
    b"COM1",
    b"LPT1.txt",
    b"aux",
    b"%2fdev%2fnull",
    b"%2fdev%2fzero",
    b"%2fdev%2fstdin",
    b"%2fproc%2fself%2fenviron",
    b"-",
    b"~",
    b"~root",
    b"*",
    b"%3f",
    b"$(id)",
    b"{id}.part",
    b"{id}.txt.txt",
    b"{id}.txt%00",
    b"{id}%00",
    b"{id}%00.txt",
    b"%00{id}",
    b"{id}%0a",
    b"{id}%0d%0aX:%20y",
    b"{id}%20",
    b"%20{id}",
    b"{id}.",
    b"{id}.TXT.",
    b"{id}/",
    b"{id};v=1",
    b"{id}::$DATA",
    b"{id}~1",
    b"{braces}",
    b"urn:uuid:{id}",
    b"{hex}",
    b"{id}0",
    b"{short}",
    b"{full_width}",
    b"{arabic}",
    b"{kelvin}",
    b"{version_4}",
    b"{variant_b}",
    b"{variant_c}",
    b"00000000-0000-0000-0000-000000000000",
    b"{absent}",
    b"{absent}.txt",
    b"%ff%fe",
    b"%",
    b"%zz",
    b"x" * 300,
    b"x" * 5000,
    b"%2e" * 2000,
]


def _spelled(place: Place, name: bytes) -> bytes:
    file_id = place.stored_id
    (process,) = (path.name for path in (place.files / "incoming").glob("*-0"))
    values = {
        "id": file_id,
        "absent": ABSENT,
        "folder": "/".join(ids.directory(file_id)),
        "process": process,
        "root": str(place.outside / "secret.txt"),
        "encoded_root": str(place.outside / "secret.txt").replace("/", "%2f"),
        "braces": f"%7b{file_id}%7d",
        "hex": file_id.replace("-", ""),
        "short": file_id[:-1],
        # Digits all, to str.isdigit and to \d: but not to the file system.
        "full_width": "%ef%bc%90" + file_id[1:],
        "arabic": "%d9%a0" + file_id[1:],
        # Lower-cased it is the ASCII letter k; and so is the dotted capital I two characters.
        "kelvin": file_id[:-1] + "%e2%84%aa",
        "version_4": file_id[:14] + "4" + file_id[15:],
        "variant_b": file_id[:19] + "b" + file_id[20:],
        "variant_c": file_id[:19] + "c" + file_id[20:],
    }
    for key, value in values.items():
        name = name.replace(b"{%s}" % key.encode(), value.encode())
    return name


@pytest.mark.usefixtures("nothing_touched_outside")
@pytest.mark.parametrize("name", [*TRAVERSALS, *NAMES], ids=lambda name: repr(name[:40])[2:-1])
def test_a_name_that_is_none_is_not_found(place: Place, name: bytes) -> None:
    _assert_not_found(place, b"/arquivos/" + _spelled(place, name))


@pytest.mark.usefixtures("nothing_touched_outside")
@pytest.mark.parametrize(
    "target",
    [b"/arquivos%2f{id}", b"//arquivos/{id}", b"/ARQUIVOS/{id}", b"/x/../arquivos/{id}", b"/./arquivos/{id}"],
)
def test_a_path_is_taken_as_it_is_written(place: Place, target: bytes) -> None:
    answer = ask(place.port, "GET", _spelled(place, target))
    if target == b"/arquivos%2f{id}":  # decoded once, as RFC 3986 has it, and then it may well be the file
        assert answer.status in (200, 404)
    else:
        assert answer.status == 404


@pytest.mark.usefixtures("nothing_touched_outside")
@pytest.mark.parametrize("target", [b"/arquivos/\x00", b"/arquivos/a b", b"/arquivos/\xff", b"/arquivos/\r", b"\\"])
def test_a_byte_that_no_path_has_is_refused(place: Place, target: bytes) -> None:
    assert ask(place.port, "GET", target).status in (400, 404)


@pytest.mark.usefixtures("nothing_touched_outside")
def test_a_cursor_is_a_name_too(place: Place) -> None:
    for name in (*TRAVERSALS, b"incoming", b"{id}%00", b"{id}%0a", b"{full_width}", b"{version_4}", b"%2fdev%2fzero"):
        value = _spelled(place, name).partition(b";")[0]
        answer = ask(place.port, "GET", b"/arquivos?after=" + value)
        assert answer.status == 400, (value, answer)
        assert answer.headers["content-type"] == PROBLEM


def test_spellings_of_one_id_are_one_file(place: Place) -> None:
    file_id = place.stored_id
    encoded = "".join(f"%{ord(character):02x}" for character in file_id)
    for name in (file_id, f"{file_id}.txt", file_id.upper(), f"{file_id.upper()}.TXT", encoded, f"{encoded}%2Etxt"):
        answer = ask(place.port, "GET", f"/arquivos/{name}")
        check_whole(answer)
        assert answer.body == b"stored"


Plant = Callable[[Path, Place], None]


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        descriptor = os.open(path.parent, os.O_PATH)
        try:
            listener.bind(f"/proc/self/fd/{descriptor}/{path.name}"[:107])  # a socket's own path is short
        finally:
            os.close(descriptor)


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(f"{path}.pipe")
    path.symlink_to(f"{path}.pipe")


PLANTS: dict[str, Plant] = {
    "link to a stored file outside": lambda path, place: path.symlink_to(place.canary),
    "link to another file outside": lambda path, place: path.symlink_to(place.outside / "secret.txt"),
    "relative link": lambda path, place: path.symlink_to(os.path.relpath(place.canary, path.parent)),
    "hanging link": lambda path, place: path.symlink_to(place.outside / "absent"),
    "link to itself": lambda path, _: path.symlink_to(path),
    "link to a folder": lambda path, place: path.symlink_to(place.outside),
    "link to a pipe": lambda path, _: _link_to_a_pipe(path),
    "pipe": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "socket": lambda path, _: _socket(path),
    "null device": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "endless device": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "terminal": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(5, 0)),
}


@pytest.mark.usefixtures("nothing_touched_outside")
@pytest.mark.parametrize("what", PLANTS)
def test_what_is_planted_under_an_id_is_no_file_and_holds_up_nobody(place: Place, what: str) -> None:
    file_id = ids.IdSource().next()
    path = path_of(place.files, file_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        PLANTS[what](path, place)
    except PermissionError:
        pytest.skip("devices can be made by root only")
    # More often than there are threads: if each were kept, the last request would never be answered.
    for _ in range(40):
        with Connection(place.port) as connection:
            connection.socket.settimeout(5)
            for method in ("GET", "HEAD"):
                answer = connection.ask(method, f"/arquivos/{file_id}")
                assert answer.status == 404, (what, answer)
                assert answer.headers["content-type"] == PROBLEM
    assert ask(place.port, "GET", f"/arquivos/{place.stored_id}").body == b"stored"
    assert ask(place.port, "GET", "/arquivos").status == 200
    # It may be removed under its name; what it points to may not.
    assert ask(place.port, "DELETE", f"/arquivos/{file_id}").status in (204, 404)
    assert ask(place.port, "GET", "/healthcheck").status == 200


@pytest.mark.usefixtures("nothing_touched_outside")
@pytest.mark.parametrize("depth", [1, 2])
def test_a_linked_folder_leads_nowhere(place: Place, depth: int) -> None:
    """The folder of an id of another time, at either of its two levels, is a link to that of the store outside."""
    steps = ids.directory(place.canary_id)
    link = place.files.joinpath(*steps[:depth])
    # The two stores are of one age: set the present folder aside, where nobody looks for it.
    aside = place.files / "incoming" / "aside"
    link.mkdir(parents=True, exist_ok=True)
    link.rename(aside)
    try:
        link.symlink_to(place.outside.joinpath(*steps[:depth]))
        _assert_not_found(place, f"/arquivos/{place.canary_id}".encode())
        assert place.canary_id not in listed(place.port)
        before = names_on_disk(place.outside)
        answer = ask(place.port, "POST", "/arquivos", b"never outside")
        assert names_on_disk(place.outside) == before, answer
        assert answer.status >= 500 or path_of(place.files, answer.json()["id"]).exists()
    finally:
        link.unlink(missing_ok=True)
        aside.rename(link)
    assert ask(place.port, "GET", f"/arquivos/{place.stored_id}").body == b"stored"


def test_files_of_others_in_the_store_are_not_listed(place: Place) -> None:
    folder = place.files.joinpath(*ids.directory(place.stored_id))
    strangers = ["README", ".nfs000000000001", "x.txt", f"{place.stored_id}.txt", f".{place.stored_id}", "ffff"]
    try:
        for name in strangers:
            for parent in (place.files, folder.parent, folder):
                (parent / name).write_bytes(b"x")
        assert set(listed(place.port)) >= {place.stored_id}
        assert all(ids.parse(name) == name for name in listed(place.port))
    finally:
        for name in strangers:
            for parent in (place.files, folder.parent, folder):
                (parent / name).unlink(missing_ok=True)
