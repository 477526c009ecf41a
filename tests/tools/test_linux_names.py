"""Names that somebody else chose: no row of an output can be made up by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devstack.ports import free_port
from tests.tools.driven import NEW_MOUNTS, answer, root_only
from tests.tools.running import listens, program, until

#: Each would be further rows, or the end of one, where an output is cut at lines or colons.
HOSTILE = [
    "a\nf\t7\t1.0\t777\troot\troot\tforged",
    "b\n4096\tforged",
    "c:1:forged",
    "d\nshadow:1:forged",
    '"e"\n-rw-r--r-- 1 root root 5 1 "forged"',
    "-f",
    "--",
    "g\ttab",
    "h \u00e9 \u2028",
    "'i'$'\\n'",
    "j\\012",
    "k\n\n",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "names"
    folder.mkdir()
    for name in HOSTILE:
        (folder / name).write_text("first\nneedle\nlast\n")
    return folder


@pytest.mark.tried("find", inputs=("names",))
def test_find(folder: Path) -> None:
    output = answer("find", {"path": str(folder), "type": "file"}, as_root=True)
    found = {item["path"]: item["size_bytes"] for item in output["matches"]}
    assert found == {item.path: item.stat().st_size for item in os.scandir(folder)}
    assert output["count"] == len(HOSTILE)


@pytest.mark.tried("grep", inputs=("names",))
def test_grep(folder: Path) -> None:
    asked = {"pattern": "needle", "paths": [str(folder)], "recursive": True}
    output = answer("grep", asked, as_root=True)
    found = sorted((item["file"], item["line"], item["text"]) for item in output["matches"])
    assert found == sorted((item.path, 2, "needle") for item in os.scandir(folder))
    assert sorted(output["files"]) == sorted(item.path for item in os.scandir(folder))


@pytest.mark.tried("ls", inputs=("names",))
def test_ls(folder: Path) -> None:
    output = answer("ls", {"path": str(folder), "show_hidden": True}, as_root=True)
    assert sorted(item["name"] for item in output["entries"]) == sorted(
        item.name for item in folder.iterdir()
    )


@pytest.mark.tried("du", inputs=("names",))
def test_du(tmp_path: Path) -> None:
    for name in HOSTILE:
        (tmp_path / "sizes" / name).mkdir(parents=True)
    output = answer("du", {"path": str(tmp_path / "sizes")}, as_root=True)
    found = {item["path"]: item["size_bytes"] for item in output["entries"][:-1]}
    sizes = {item.path: item.stat().st_blocks * 512 for item in os.scandir(tmp_path / "sizes")}
    assert found == sizes


@pytest.mark.tried("df", inputs=("names",))
def test_df(tmp_path: Path) -> None:
    """Sources and folders with blanks, numbers and signs of two cells; the kernel's own list."""
    root_only()
    names = {
        "/dev/sda1 ext4 9 9 9 9% 9 9 9 9% /etc": "a ext4 1 1 1 1% 1 1 1 1% f /etc",
        "/dev/sda1 /etc": "b /etc",
        "tmpfs \u6f22\u5b57": "c \u6f22 /d e\u0301 ",
        "x\ny": "new\nline",
    }
    folders = {source: tmp_path / "mnt" / name for source, name in names.items()}

    def mount() -> None:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, timeout=20)
        for source, folder in folders.items():
            folder.mkdir(parents=True)
            words = ["mount", "-t", "tmpfs", "-o", "size=8k,nr_inodes=77", source, str(folder)]
            subprocess.run(words, check=True, timeout=20)

    output = answer("df", as_root=True, spaces=NEW_MOUNTS, prepare=mount)
    mine = {item["mounted_on"]: item for item in output["filesystems"] if item["inodes"] == 77}
    # df writes a question mark for a line break.
    wanted = {str(folder).replace("\n", "?"): source for source, folder in folders.items()}
    assert {place: item["filesystem"] for place, item in mine.items()} == {
        place: source.replace("\n", "?") for place, source in wanted.items()
    }
    assert {(item["type"], item["size_bytes"]) for item in mine.values()} == {("tmpfs", 8_192)}
    root = next(item for item in output["filesystems"] if item["mounted_on"] == "/")
    assert root["size_bytes"] == os.statvfs("/").f_blocks * os.statvfs("/").f_frsize


_LISTENER = """
import ctypes, socket, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
door = socket.create_server(("127.0.0.1", int(sys.argv[2])))
time.sleep(120)
"""


@contextmanager
def listener(name: str, first: str = "listener") -> Iterator[tuple[int, int]]:
    """A process of this name, whose command line begins with `first`, with a port of its own."""
    port = free_port()
    process = subprocess.Popen([first, "-c", _LISTENER, name, str(port)], executable=sys.executable)
    try:
        until(lambda: listens(port), "the port is open")
        yield process.pid, port
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    "name",
    ['a",pid=1,fd=3)', "a\nb c", "\ntcp LISTEN 0 1", '",pid=1,fd=3),', "x\\", '"(("', "a)b) c"],
)
def test_ss_names_the_process_that_has_the_socket(name: str) -> None:
    root_only()
    with listener(name) as (pid, port):
        output = answer("ss", {"protocol": "tcp"}, as_root=True)
    mine = [item for item in output["sockets"] if item["local_port"] == port]
    assert [(item["local_address"], item["state"]) for item in mine] == [("127.0.0.1", "LISTEN")]
    assert [item["pid"] for item in mine[0]["processes"]] == [pid]
    assert {item["protocol"] for item in output["sockets"]} == {"tcp"}


def test_netstat_has_no_row_of_a_program_name() -> None:
    root_only()
    program("netstat", "net-tools")
    with listener("x", "x\ntcp 0 0 1.1.1.1:1 *:* LISTEN 1/init") as (pid, port):
        output = answer("netstat", {"protocol": "tcp"}, as_root=True)
    mine = [item for item in output["sockets"] if item["local_port"] == port]
    assert [item["pid"] for item in mine] == [pid]
    assert all(item["state"] for item in output["sockets"])
    assert "1.1.1.1" not in {item["local_address"] for item in output["sockets"]}


def test_processes_have_one_row_each() -> None:
    """ps, pgrep, top and pkill: names and command lines with line breaks and made-up rows."""
    root_only()
    first = "evil\n1 0 root 0.0 0.0 1 1 S 1 /sbin/init\n1 /sbin/init"
    with listener("a\n1 root", first) as (pid, _):
        ps = answer("ps", {"pids": [pid]}, as_root=True)
        pgrep = answer("pgrep", {"pattern": "^a.1 root$"}, as_root=True)
        top = answer("top", {"pids": [pid]}, as_root=True)
        pkill = answer("pkill", {"pattern": "a.1 root", "signal": "CONT"}, as_root=True)
    assert [item["pid"] for item in ps["processes"]] == [pid]
    assert pgrep["pids"] == [pid]
    assert [item["pid"] for item in top["processes"]] == [pid]
    assert [item["pid"] for item in pkill["processes"]] == [pid]
