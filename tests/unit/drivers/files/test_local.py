"""The tools for files on the executor's machine: below its folders, as a whole, and only once."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import ExecutorSettings
from tests.driver_kit import failed, succeeded
from tests.files_kit import names_in, own_folders, parts_in, ran, sha


@pytest.fixture
def configured(tmp_path: Path) -> ExecutorSettings:
    return own_folders(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, configured: ExecutorSettings) -> Path:
    return tmp_path / "transfer" / "acme"


def test_a_file_is_put_once(configured: ExecutorSettings, folder: Path) -> None:
    path = folder / "motd"
    first = succeeded(
        ran(configured, "file_put", path=str(path), content="hello\n", mode="0640", group="daemon")
    )
    assert (first["changed"], first["created"]) == (True, True)
    assert path.read_bytes() == b"hello\n" and first["sha256"] == sha(b"hello\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_gid == grp.getgrnam("daemon").gr_gid
    before = path.stat()
    again = succeeded(ran(configured, "file_put", path=str(path), content="hello\n"))
    assert (again["changed"], again["created"]) == (False, False)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # What is not stated stays, and a new mode alone writes nothing anew.
    other = succeeded(ran(configured, "file_put", path=str(path), content="hallo\n"))
    assert other["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_gid == grp.getgrnam("daemon").gr_gid
    number = path.stat().st_ino
    mode = succeeded(ran(configured, "file_put", path=str(path), content="hallo\n", mode="0600"))
    assert mode["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino == number and parts_in(folder) == []


def test_a_new_file_is_its_owners_alone(configured: ExecutorSettings, folder: Path) -> None:
    succeeded(ran(configured, "file_put", path=str(folder / "new"), content=""))
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o600
    assert (folder / "new").read_bytes() == b""


@pytest.mark.tried(
    "file_put", "file_get", "file_absent", "file_copy", "directory", inputs=("names", "unreadable")
)
@pytest.mark.parametrize(
    "name", ["a b", "-rf", "ü", "u\u0308", "$(id)", "line\nbreak", 'it\'s "one"', "*", "~", "%s"]
)
def test_any_name(configured: ExecutorSettings, folder: Path, name: str) -> None:
    inner = folder / f"in {name}"
    made = succeeded(ran(configured, "directory", path=f"{inner}/deep", parents=True))
    assert made["created"] == [str(inner), f"{inner}/deep"]
    path = f"{inner}/deep/{name}"
    put = succeeded(ran(configured, "file_put", path=path, content="x\n"))
    assert names_in(inner / "deep") == [name] and put["path"] == path
    got = succeeded(ran(configured, "file_get", path=path, content=True))
    assert got["content"] == "x\n"
    copied = succeeded(
        ran(configured, "file_copy", from_host="localhost", from_path=path, host="localhost",
            path=f"{inner}/{name}")
    )  # fmt: skip
    assert copied["changed"] and (inner / name).read_bytes() == b"x\n"
    gone = succeeded(ran(configured, "file_absent", path=str(inner), recursive=True))
    assert (gone["files"], gone["folders"]) == (2, 2) and not inner.exists()
    failed(ran(configured, "file_get", path=path), "not_found")


@pytest.mark.parametrize("tool", ["file_put", "file_get", "file_absent", "directory"])
def test_nothing_outside(
    configured: ExecutorSettings, folder: Path, tmp_path: Path, tool: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (folder / "link").symlink_to(outside)
    (folder / "file").symlink_to(outside / "kept")
    (tmp_path / "transfer" / "other").mkdir()
    more: dict[str, Any] = {"content": "x"} if tool == "file_put" else {}
    for path, error_class in (
        (str(outside / "kept"), "capability_missing"),
        (f"{folder}/../../outside/kept", "capability_missing"),
        (f"{folder}/link/kept", "capability_missing"),
        (str(tmp_path / "transfer" / "other" / "kept"), "capability_missing"),
        ("/etc/passwd", "capability_missing"),
    ):
        message = failed(ran(configured, tool, path=path, **more), error_class)
        assert message.count("\n") == 0 and "path" in message
    if tool != "file_absent":
        ran(configured, tool, path=str(folder / "file"), **more)
    assert (outside / "kept").read_text() == "kept" and names_in(outside) == ["kept"]
    assert (folder / "file").is_symlink()


def test_a_link_is_removed_and_not_what_it_leads_to(
    configured: ExecutorSettings, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    (folder / "tree").mkdir()
    (folder / "tree" / "link").symlink_to(tmp_path / "kept")
    succeeded(ran(configured, "file_absent", path=str(folder / "tree"), recursive=True))
    assert not (folder / "tree").exists() and (tmp_path / "kept" / "file").exists()


def test_absent_counts_before_it_removes(configured: ExecutorSettings, folder: Path) -> None:
    tree = folder / "tree"
    for name in ("a/b/c", "d"):
        (tree / name).mkdir(parents=True)
    for name in ("a/1", "a/b/2", "a/b/c/3"):
        (tree / name).write_text("1234")
    assert "recursive: true" in failed(ran(configured, "file_absent", path=str(tree)), "conflict")
    few = ran(configured, "file_absent", path=str(tree), recursive=True, max_entries=7)
    assert "nothing was removed" in failed(few, "invalid_parameters")
    said = succeeded(ran(configured, "file_absent", path=str(tree), recursive=True, dry_run=True))
    assert (said["changed"], said["files"], said["folders"], said["bytes"]) == (True, 3, 5, 12)
    assert len(list(tree.rglob("*"))) == 7
    done = succeeded(ran(configured, "file_absent", path=str(tree), recursive=True))
    assert {**said, "dry_run": False} == done and not tree.exists()
    again = succeeded(ran(configured, "file_absent", path=str(tree), recursive=True))
    assert (again["changed"], again["files"]) == (False, 0)


def test_backup_and_diff(configured: ExecutorSettings, folder: Path) -> None:
    path = folder / "conf"
    path.write_text("one\ntwo\n")
    path.chmod(0o644)
    said = succeeded(
        ran(configured, "file_put", path=str(path), content="one\n2\n", backup=True, dry_run=True)
    )
    assert said["changed"] and said["diff"].endswith("@@ -1,2 +1,2 @@\n one\n-two\n+2\n")
    assert path.read_text() == "one\ntwo\n" and len(names_in(folder)) == 1
    done = succeeded(ran(configured, "file_put", path=str(path), content="one\n2\n", backup=True))
    assert done["diff"] == said["diff"] and path.read_text() == "one\n2\n"
    assert Path(done["backup"]).read_text() == "one\ntwo\n"
    assert names_in(folder) == ["conf", Path(done["backup"]).name]
    same = succeeded(ran(configured, "file_put", path=str(path), content="one\n2\n", backup=True))
    assert not same["changed"] and len(names_in(folder)) == 2


def test_no_diff_of_what_not_everybody_may_read(configured: ExecutorSettings, folder: Path) -> None:
    path = str(folder / "conf")
    new = succeeded(ran(configured, "file_put", path=path, content="a\n"))
    assert "diff" not in new and "everybody" in new["diff_left_out"]
    asked = succeeded(ran(configured, "file_put", path=path, content="b\n", diff=True))
    assert "-a\n+b\n" in asked["diff"]
    secret = succeeded(
        ran(configured, "file_put", ("c\n",), path=path, content="c\n", mode="0644", diff=True)
    )
    assert "diff" not in secret and "secret" in secret["diff_left_out"]


def test_the_hash_decides(configured: ExecutorSettings, folder: Path) -> None:
    path = folder / "conf"
    path.write_text("old")
    wrong = ran(configured, "file_put", path=str(path), content="new", sha256=sha(b"other"))
    assert sha(b"new") in failed(wrong, "conflict")
    assert path.read_text() == "old" and parts_in(folder) == []
    succeeded(ran(configured, "file_put", path=str(path), content="new", sha256=sha(b"new")))
    assert path.read_text() == "new"


def test_of_the_library_and_of_the_own_folder(
    configured: ExecutorSettings, folder: Path, tmp_path: Path
) -> None:
    data = os.urandom(700_001)
    (tmp_path / "library" / "image").write_bytes(data)
    (folder / "own").write_bytes(data)
    for source in (tmp_path / "library" / "image", folder / "own"):
        put = succeeded(
            ran(configured, "file_put", path=str(folder / "put"), source=str(source), mode="0644")
        )
        assert put["sha256"] == sha(data) and (folder / "put").read_bytes() == data
    assert not put["changed"]
    (tmp_path / "elsewhere").write_text("x")
    outside = ran(configured, "file_put", path=str(folder / "p"), source=f"{tmp_path}/elsewhere")
    assert "RUNSTREAM_TRANSFER_FOLDERS" in failed(outside, "capability_missing")
    # Nothing is written to the library.
    into = ran(configured, "file_put", path=str(tmp_path / "library" / "new"), content="x")
    failed(into, "capability_missing")


def test_get_saves_once(configured: ExecutorSettings, folder: Path) -> None:
    data = bytes(range(256)) * 1_000
    (folder / "from").write_bytes(data)
    here: dict[str, Any] = {"path": str(folder / "from"), "save_as": str(folder / "to")}
    first = succeeded(ran(configured, "file_get", **here, content=True))
    assert first["changed"] and (folder / "to").read_bytes() == data
    assert "content" not in first and "65536" in first["content_left_out"]
    assert not succeeded(ran(configured, "file_get", **here))["changed"]
    (folder / "to").write_bytes(b"mine")
    assert "overwrite: true" in failed(ran(configured, "file_get", **here), "conflict")
    assert (folder / "to").read_bytes() == b"mine"
    assert succeeded(ran(configured, "file_get", **here, overwrite=True))["changed"]
    large = ran(configured, "file_get", path=str(folder / "from"), max_file_bytes=1_000)
    assert "256000 bytes" in failed(large, "limit_exceeded")


def test_a_folder_is_made_once(configured: ExecutorSettings, folder: Path) -> None:
    path = folder / "a" / "b"
    alone = ran(configured, "directory", path=str(path))
    assert "parents: true" in failed(alone, "not_found")
    said = succeeded(ran(configured, "directory", path=str(path), parents=True, dry_run=True))
    assert said["created"] == [str(path.parent), str(path)] and names_in(folder) == []
    made = succeeded(ran(configured, "directory", path=str(path), parents=True, mode="02750"))
    assert made["created"] == said["created"] and made["mode"] == "2750"
    assert stat.S_IMODE(path.stat().st_mode) == 0o2750
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    again = succeeded(ran(configured, "directory", path=str(path), mode="02750"))
    assert (again["changed"], again["created"]) == (False, [])
    other = succeeded(ran(configured, "directory", path=str(path), mode="0700"))
    assert other["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o700
    (folder / "file").write_text("x")
    assert "no folder" in failed(ran(configured, "directory", path=f"{folder}/file"), "conflict")
