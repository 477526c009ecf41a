"""What may not be read: it is named, the rest is given, and nobody takes that for the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.driven import answer, failure, for_everybody, root_only

#: Each is quoted in another way by one of the programs.
SHUT = [
    "shut",
    "shut\nline",
    "it's",
    "q'\"z",
    "back\\slash",
    "\ttab",
    "\u00e9",
    "\u2018x\u2019",
    "$(x): y",
]


@pytest.fixture
def tree() -> Iterator[Path]:
    """A folder for everybody, with a file and folders for nobody but root."""
    root_only()
    with for_everybody() as folder:
        tree = folder / "tree"
        for name in ("open", *SHUT):
            (tree / name).mkdir(parents=True)
            (tree / name / "file").write_text("needle\n")
        (tree / "secret").write_text("needle\n")
        for name in (*SHUT, "secret"):
            (tree / name).chmod(0)
        yield tree


def unread(output: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["path"], item["reason"]) for item in output["errors"]}


def denied(tree: Path, *names: str) -> set[tuple[str, str]]:
    return {(str(tree / name), "Permission denied") for name in names}


@pytest.mark.tried("find", inputs=("unreadable",))
def test_find_gives_what_it_found(tree: Path) -> None:
    output = answer("find", {"path": str(tree)})
    # What a user without rights can list: names of the folder itself, and what is in `open`.
    wanted = {str(tree), str(tree / "open" / "file"), *map(str, tree.iterdir())}
    assert {item["path"] for item in output["matches"]} == wanted
    assert output["complete"] is False
    assert output["error_count"] == len(SHUT)
    assert unread(output) == denied(tree, *SHUT)
    whole = answer("find", {"path": str(tree / "open")})
    assert (whole["complete"], whole["error_count"], whole["errors"]) == (True, 0, [])


@pytest.mark.tried("grep", inputs=("unreadable",))
def test_grep_gives_what_it_found(tree: Path) -> None:
    output = answer("grep", {"pattern": "needle", "paths": [str(tree)], "recursive": True})
    assert output["matches"] == [{"file": str(tree / "open" / "file"), "line": 1, "text": "needle"}]
    assert (output["complete"], output["found"]) == (False, True)
    assert unread(output) == denied(tree, *SHUT, "secret")
    none = answer("grep", {"pattern": "straw", "paths": [str(tree)], "recursive": True})
    assert (none["found"], none["complete"], none["error_count"]) == (False, False, len(SHUT) + 1)
    sure = answer("grep", {"pattern": "straw", "paths": [str(tree / "open" / "file")]})
    assert (sure["found"], sure["complete"]) == (False, True)


@pytest.mark.tried("du", inputs=("unreadable",))
def test_du_gives_what_it_measured(tree: Path) -> None:
    output = answer("du", {"path": str(tree)})
    sizes = {item["path"]: item["size_bytes"] for item in output["entries"]}
    real = sum(item.stat().st_blocks * 512 for item in (tree / "open", tree / "open" / "file"))
    assert sizes[str(tree / "open")] == real
    assert output["complete"] is False
    assert unread(output) == denied(tree, *SHUT)


@pytest.mark.tried("ls", inputs=("unreadable",))
def test_ls_gives_what_it_listed(tree: Path) -> None:
    output = answer("ls", {"path": str(tree), "recursive": True})
    assert {item["name"] for item in output["entries"]} == {
        *(item.name for item in tree.iterdir()),
        "file",
    }
    assert output["complete"] is False
    assert unread(output) == denied(tree, *SHUT)
    # A folder that may be listed and not entered shows names alone.
    (tree / "open").chmod(0o744)
    names = answer("ls", {"path": str(tree / "open")})
    assert [(item["name"], item["size_bytes"]) for item in names["entries"]] == [("file", None)]
    assert names["complete"] is False


@pytest.mark.parametrize(
    ("tool", "more"),
    [("find", {}), ("du", {}), ("ls", {}), ("grep", {"pattern": "x", "recursive": True})],
)
def test_what_the_plan_names_must_be_readable(tree: Path, tool: str, more: dict[str, Any]) -> None:
    for name, error_class in (
        ("shut", "capability_missing"),
        ("gone", "not_found"),
        ("open/file/below", "not_found"),
    ):
        failed = failure(tool, {"path": str(tree / name), **more})
        assert (failed.error_class, failed.transient) == (error_class, False), failed
        assert failed.output is not None
        assert failed.output["complete"] is False
        assert failed.output["errors"][0]["path"] == str(tree / name)


def test_one_of_several_names_is_gone(tree: Path) -> None:
    """The others were searched all the same, and the failure has what they hold."""
    paths = [str(tree / "open" / "file"), str(tree / "gone")]
    failed = failure("grep", {"pattern": "needle", "paths": paths})
    assert failed.error_class == "not_found"
    assert failed.output is not None
    assert [item["file"] for item in failed.output["matches"]] == paths[:1]


def test_very_many_are_counted_and_some_are_named(tree: Path) -> None:
    for number in range(1_500):
        (tree / "open" / f"{number:04d}").mkdir(mode=0)
    output = answer("find", {"path": str(tree / "open")})
    assert (output["count"], output["error_count"]) == (1_502, 1_500)
    assert len(output["errors"]) == 100
    assert output["complete"] is False


def test_more_than_an_output_holds(tree: Path) -> None:
    """Of very many entries the first ones are given, and the answer does not pass for the whole.

    One name with a line break does not decide how many.
    """
    many = tree / "open" / ("x" * 200)
    many.mkdir(mode=0o755)
    (many / "a\nb").touch()
    for number in range(20_000):
        (many / f"{'y' * 200}{number}").touch()
    for tool, field in (("find", "matches"), ("ls", "entries")):
        output = answer(tool, {"path": str(many)})
        assert (output["truncated"], output["complete"]) == (True, False)
        assert len(output[field]) > 200
    asked = {"pattern": "needle", "paths": [str(tree / "open")], "recursive": True}
    lines = "needle\n" * 1_000
    for number in range(30):
        (tree / "open" / f"{number}\n").write_text(lines)
    found = answer("grep", {**asked, "paths": [str(tree / "open")]})
    assert found["truncated"] is True
    assert len(found["matches"]) == 1_000
