"""Which files find and grep take and leave, and in which order sort puts lines."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.driven import NEW_MOUNTS, answer, failure, root_only


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files with modes, ages and names of their own."""
    root_only()
    tree = tmp_path / "tree"
    for name in ("a.log", "b.log", "deep/er/c.log", "deep/old.gz", ".git/d.log", "a(b"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(f"head {name}\nneedle\ntail\n")
        (tree / name).chmod(0o644)
    (tree / "a.log").chmod(0o4755)
    (tree / "b.log").chmod(0o666)
    (tree / "nothing").touch(0o600)
    minutes_ago = time.time() - 60 * 30
    os.utime(tree / "deep/old.gz", (minutes_ago, minutes_ago))
    os.chown(tree / "b.log", 65534, 65534)
    return tree


def names(tree: Path, chosen: Callable[[Path], bool] = lambda path: True) -> set[str]:
    """What Python finds below the folder."""
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if chosen(path)}


def found(tree: Path, **parameters: Any) -> set[str]:
    output = answer("find", {"path": str(tree), "min_depth": 1, **parameters}, as_root=True)
    assert output["count"] == len(output["matches"])
    assert output["complete"] is True
    return {str(Path(item["path"]).relative_to(tree)) for item in output["matches"]}


def test_find_by_permissions(tree: Path) -> None:
    def mode(path: Path) -> int:
        return path.stat().st_mode & 0o7777

    assert found(tree) == names(tree)
    assert found(tree, permissions="0666") == names(tree, lambda item: mode(item) == 0o666)
    assert found(tree, permissions_all="4000") == {"a.log"}
    loose = names(tree, lambda item: bool(mode(item) & 0o022))
    assert found(tree, permissions_any="0022") == loose
    assert "b.log" in loose


def test_find_by_minutes_and_account(tree: Path) -> None:
    assert found(tree, older_than_minutes=20) == {"deep/old.gz"}
    assert found(tree, newer_than_minutes=20) == names(tree) - {"deep/old.gz"}
    assert found(tree, older_than_minutes=45) == set()
    assert found(tree, owner="65534") == found(tree, group="65534") == {"b.log"}
    empty = names(tree, lambda item: item.is_file() and not item.stat().st_size)
    assert found(tree, empty=True) == empty == {"nothing"}


def test_find_leaves_out(tree: Path) -> None:
    kept = {name for name in names(tree) if not name.startswith((".git", "deep/er"))}
    assert found(tree, exclude=[".git", "er"]) == kept
    assert found(tree, exclude="a(*") == names(tree) - {"a(b"}
    logs = {name for name in kept if name.endswith(".log")}
    assert found(tree, exclude=[".git", "er"], name="*.log", type="file") == logs
    assert found(tree, exclude=["deep"], max_depth=1) == {
        item.name for item in tree.iterdir() if item.name != "deep"
    }


def test_find_stays_on_one_file_system(tree: Path) -> None:
    def mount() -> None:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, timeout=20)
        words = ["mount", "-t", "tmpfs", "none", str(tree / "deep")]
        subprocess.run(words, check=True, timeout=20)
        (tree / "deep" / "beyond").touch()

    how: dict[str, Any] = {"as_root": True, "spaces": NEW_MOUNTS, "prepare": mount}
    asked = {"path": str(tree), "name": "beyond"}
    assert answer("find", asked, **how)["count"] == 1
    assert answer("find", {**asked, "one_file_system": True}, **how)["count"] == 0


def test_find_takes_one_kind_of_permissions(tree: Path) -> None:
    with pytest.raises(AssertionError, match="permissions"):
        failure("find", {"path": str(tree), "permissions": "0644", "permissions_any": "0022"})


def searched(tree: Path, **parameters: Any) -> dict[str, Any]:
    asked = {"pattern": "needle", "paths": [str(tree)], "recursive": True, **parameters}
    return answer("grep", asked, as_root=True)


def files(output: dict[str, Any], tree: Path) -> set[str]:
    return {str(Path(name).relative_to(tree)) for name in output["files"]}


def test_grep_takes_and_leaves_files(tree: Path) -> None:
    every = {name for name in names(tree) if "needle" in _text(tree / name)}
    logs = {name for name in every if name.endswith(".log")}
    assert files(searched(tree), tree) == every
    assert files(searched(tree, include="*.log"), tree) == logs
    assert files(searched(tree, exclude=["*.gz", "a*"]), tree) == {
        name for name in every if not name.endswith(".gz") and not Path(name).name.startswith("a")
    }
    assert files(searched(tree, exclude_directories=[".git", "er"]), tree) == {
        name for name in every if not {".git", "er"} & set(Path(name).parts)
    }


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def test_grep_gives_lines_around_matches(tree: Path) -> None:
    (tree / "-\n--").write_text("1:first\n2-needle\n3\n4\n5 needle\n6:\n")
    for before, after in ((1, 0), (0, 1), (1, 1), (None, 2), (9, 9)):
        wanted = {"before": before, "after": after, "include": "-*"}
        asked = {name: value for name, value in wanted.items() if value is not None}
        output = searched(tree, **asked)
        lines = (tree / "-\n--").read_text().splitlines()
        hits = [number for number, line in enumerate(lines, 1) if "needle" in line]
        around = {
            number
            for hit in hits
            for number in range(max(1, hit - (before or 0)), min(len(lines), hit + after) + 1)
        }
        assert [(m["line"], m["text"]) for m in output["matches"]] == [
            (number, lines[number - 1]) for number in hits
        ]
        assert [(m["line"], m["text"]) for m in output["context"]] == [
            (number, lines[number - 1]) for number in sorted(around - set(hits))
        ]
        assert {m["file"] for m in output["context"]} == {str(tree / "-\n--")}


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        ("version", ["v1.2", "v1.9", "v1.10", "v2.0-rc1", "v10.0"]),
        ("human", ["900", "2K", "5M", "1G"]),
        ("numeric", ["-3", "9", "10"]),
        ("ignore_case", ["a", "B", "c"]),
    ],
)
def test_sort(how: str, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in sorted(lines, reverse=True))
    assert answer("sort", {"text": text, how: True})["lines"] == lines
    assert answer("sort", {"text": text, how: True, "reverse": True})["lines"] == lines[::-1]
