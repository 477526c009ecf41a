"""The tool `line_in_file`, byte for byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Success
from tests.sizes import LONG
from tests.tools.driven import answer, failure, for_everybody, outcomes
from tests.tools.odd.test_file_names import NAMES

#: Bytes of a large file; less in CI, all of it with `make long`.
LARGE = 100_000_000 if LONG else 10_000_000


@pytest.fixture
def place() -> Iterator[Path]:
    with for_everybody() as folder:
        folder.chmod(0o777)
        yield folder


def root(**parameters: Any) -> dict[str, Any]:
    return answer("line_in_file", parameters, as_root=True)


CASES: dict[str, tuple[bytes, dict[str, Any], bytes]] = {
    "at the end": (b"a\nb\n", {"line": "c"}, b"a\nb\nc\n"),
    "of a file without an end": (b"a\nb", {"line": "c"}, b"a\nb\nc"),
    "of an empty file": (b"", {"line": "c"}, b"c\n"),
    "the last that matches": (b"x=1\nx=2\ny\n", {"regexp": "^x=", "line": "x=3"}, b"x=1\nx=3\ny\n"),
    "the last, without an end": (b"y\nx=1", {"regexp": "^x=", "line": "x=3"}, b"y\nx=3"),
    "none that matches": (b"y\n", {"regexp": "^x=", "line": "x=3"}, b"y\nx=3\n"),
    "after": (b"a\nb\na\nc\n", {"line": "n", "insert_after": "^a"}, b"a\nb\na\nn\nc\n"),
    "after the last of all": (b"a\nb", {"line": "n", "insert_after": "b"}, b"a\nb\nn"),
    "after none": (b"a\n", {"line": "n", "insert_after": "z"}, b"a\nn\n"),
    "before": (b"b\na\na\n", {"line": "n", "insert_before": "^a"}, b"b\nn\na\na\n"),
    "at the begin": (b"a\n", {"line": "n", "insert_before": "BOF"}, b"n\na\n"),
    "at the begin of a part": (b"a", {"line": "n", "insert_before": "BOF"}, b"n\na"),
    "all that are the line": (b"a\nb\na\n", {"line": "a", "state": "absent"}, b"b\n"),
    "all that match": (b"a1\nb\na2", {"regexp": "^a", "state": "absent"}, b"b\n"),
    "CRLF": (b"a\r\nx\r\n", {"regexp": "^x$", "line": "y"}, b"a\r\ny\r\n"),
    "CRLF at the end": (b"a\r\n", {"line": "y"}, b"a\r\ny\r\n"),
    "UTF-8": ("ä=1\nöß\n".encode(), {"regexp": "^ä=", "line": "ä=€"}, "ä=€\nöß\n".encode()),
    "bytes that are no UTF-8": (b"\xff\xfe\nx\n", {"line": "y"}, b"\xff\xfe\nx\ny\n"),
    "what a shell would read": (b"", {"line": "$(touch x) `id` \\1 & 'a' \"b\""},
                                b"$(touch x) `id` \\1 & 'a' \"b\"\n"),
    "what a replacement would read": (b"x\n", {"regexp": "(x)", "line": "\\1\\g<0>&"},
                                      b"\\1\\g<0>&\n"),
    "an empty line": (b"a\n", {"line": ""}, b"a\n\n"),
}  # fmt: skip


def test_a_line_and_nothing_twice(place: Path) -> None:
    """Every case by one executor, in three rounds: what would be done, done, and nothing to do."""
    for name, (before, _, _) in CASES.items():
        (place / name).write_bytes(before)
    calls = [{"path": str(place / name), **asked} for name, (_, asked, _) in CASES.items()]

    def round_of(**more: Any) -> list[dict[str, Any]]:
        found = outcomes("line_in_file", *({**call, **more} for call in calls), as_root=True)
        assert all(isinstance(one, Success) for one in found), found
        return [dict(one.output or {}) for one in found]

    planned = round_of(dry_run=True)
    for name, (before, _, _) in CASES.items():
        assert (place / name).read_bytes() == before
    done = round_of()
    inodes = {name: (place / name).stat().st_ino for name in CASES}
    again = round_of()
    for (name, (_, _, after)), would, did, idle in zip(
        CASES.items(), planned, done, again, strict=True
    ):
        assert (place / name).read_bytes() == after, name
        assert would["changed"] is did["changed"] is True, name
        assert would["diff"] == did["diff"] != "", name
        assert (idle["changed"], idle["diff"], idle["lines_changed"]) == (False, "", 0), name
        assert (place / name).stat().st_ino == inodes[name], name
    assert sorted(path.name for path in place.iterdir()) == sorted(CASES)


@pytest.mark.root_only
def test_owner_rights_links_and_a_backup_stay(place: Path) -> None:
    file, link = place / "file", place / "link"
    file.write_text("a\n")
    file.chmod(0o640)
    os.chown(file, 1234, 4321)
    link.symlink_to("file")
    done = root(path=str(link), line="b", backup=True)
    assert done["diff"] == "+2: b"
    assert link.is_symlink() and file.read_text() == "a\nb\n"
    found = file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 4321, 0o640)
    assert Path(done["backup"]).read_text() == "a\n"
    assert Path(done["backup"]).stat().st_mode & 0o777 == 0o640


def test_create_and_absent_without_a_file(place: Path) -> None:
    file = place / "new"
    assert root(path=str(file), line="a", state="absent")["changed"] is False
    gone = failure("line_in_file", {"path": str(file), "line": "a"}, as_root=True)
    assert gone.error_class == "not_found" and "create: true" in gone.message
    assert root(path=str(file), line="a", create=True, dry_run=True)["changed"] is True
    assert not file.exists()
    assert root(path=str(file), line="a", create=True)["changed"] is True
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("a\n", 0o644)
    assert root(path=str(file), line="a", create=True)["changed"] is False


def test_a_large_file(place: Path) -> None:
    file = place / "large"
    block = b"".join(b"line %d of a file\n" % number for number in range(50_000))
    with file.open("wb") as target:
        for _ in range(LARGE // len(block)):
            target.write(block)
        target.write(b"last=1\n")
    wanted = hashlib.sha256(file.read_bytes().replace(b"last=1", b"last=2")).hexdigest()
    given = {"path": str(file), "regexp": "^last=", "line": "last=2"}
    assert root(**given)["changed"] is True
    assert hashlib.sha256(file.read_bytes()).hexdigest() == wanted
    assert root(**given)["changed"] is False


@pytest.mark.tried("line_in_file", inputs=("names", "unreadable"))
@pytest.mark.root_only
def test_names_and_what_may_not_be_read(place: Path) -> None:
    for name in NAMES:
        (place / name).write_text("a\n")
        assert root(path=str(place / name), line="b")["changed"] is True
        assert (place / name).read_text() == "a\nb\n"
    assert not list(place.rglob("[xy]"))
    (place / "closed").write_text("a\n")
    (place / "closed").chmod(0o600)
    (place / "theirs").write_text("a\n")
    (place / "folder").mkdir()
    for name, wanted in (
        ("closed", "capability_missing"), ("theirs", "capability_missing"),
        ("folder", "invalid_parameters"), ("gone", "not_found"),
    ):  # fmt: skip
        asked = {"path": str(place / name), "line": "b"}
        assert failure("line_in_file", asked, step_user="nobody").error_class == wanted
    assert (place / "theirs").read_text() == "a\n"
    asked = {"path": str(place / "theirs"), "line": "b", "regexp": "("}
    wrong = failure("line_in_file", asked, as_root=True)
    assert wrong.error_class == "invalid_parameters" and wrong.message.startswith("regexp: ")
