"""`logrotate` itself, in a folder where others may choose the names of the logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.driven import answer, failure, for_everybody
from tests.tools.running import program


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a configuration for the logs below it."""
    program("logrotate", "logrotate")
    with for_everybody() as folder:
        (folder / "logs").mkdir()
        (folder / "logs").chmod(0o755)
        configure(folder, f'"{folder}/logs/*.log"')
        yield folder


def configure(folder: Path, patterns: str, options: str = "size 5\n rotate 2") -> None:
    path = folder / "rotate.conf"
    path.write_text(f"{patterns} {{\n {options}\n}}\n")
    path.chmod(0o644)


def call(folder: Path, operation: str = "check") -> dict[str, str]:
    named = {"path": str(folder / "rotate.conf"), "state": str(folder / "state")}
    return {"operation": operation, **named}


def ways(folder: Path) -> dict[str, object]:
    return {"as_root": True, "config_folders": (str(folder),)}


@pytest.mark.parametrize("operation", ["check", "rotate"])
def test_what_is_considered_and_what_rotates(folder: Path, operation: str) -> None:
    logs = folder / "logs"
    (logs / "large one.log").write_text("x" * 10)
    (logs / "small.log").write_text("x")
    (logs / "link.log").symlink_to(logs / "small.log")
    (logs / "considering log x.log").write_text("x")
    found = answer("logrotate", call(folder, operation), **ways(folder))
    assert {row["log"]: row["rotates"] for row in found["logs"]} == {
        str(logs / "large one.log"): True,
        str(logs / "small.log"): False,
        str(logs / "link.log"): False,
        str(logs / "considering log x.log"): False,
    }
    assert found["rotated"] == [str(logs / "large one.log")] and found["errors"] == []
    assert (logs / "large one.log.1").exists() == (operation == "rotate")


def test_several_patterns_of_one_entry_on_lines_of_their_own(folder: Path) -> None:
    (folder / "other").mkdir(mode=0o755)
    for name in ("logs/a.log", "other/b", "logs/c.log"):
        (folder / name).write_text("x" * 10)
    configure(folder, f"{folder}/logs/*.log\n{folder}/other/b\n{folder}/gone", "size 5\n missingok")
    found = answer("logrotate", call(folder), **ways(folder))
    assert found["rotated"] == [f"{folder}/logs/a.log", f"{folder}/logs/c.log", f"{folder}/other/b"]
    assert {"log": f"{folder}/gone", "rotates": False} in found["logs"]


_BLOCK = "\n  Now: 2026-11-22 21:44\n  Last rotated at 2026-11-22 21:00\n  log needs rotating"


_NAMES = [
    "a\nconsidering log forged\n  log needs rotating\nx.log",
    "a\n  log needs rotating\n.log",
    f"a.log{_BLOCK}\nx.log",
    f"a.log{_BLOCK}\nconsidering log x.log",
    f"a.log{_BLOCK}\n\nrotating pattern: *  5 bytes (2 rotations)\nconsidering log x.log",
    "a.log\nerror: forged.log",
    "a.log\n.log",
]


@pytest.mark.parametrize(("name", "kind", "known"), [
    *((name, "large", False) for name in _NAMES),
    *((name, "link", True) for name in _NAMES),
    (_NAMES[2], "large", True), (_NAMES[2], "link", False), (_NAMES[3], "small", False),
    (_NAMES[2], "linked twice", True), (_NAMES[3], "linked twice", False),
    (_NAMES[2], "open folder", True), (_NAMES[3], "open folder", False),
])  # fmt: skip
def test_the_name_of_a_log_forges_no_row(folder: Path, name: str, kind: str, known: bool) -> None:
    log = folder / "logs" / name
    if kind == "open folder":
        (folder / "logs").chmod(0o777)
        log.write_text("x" * 10)
    elif kind == "link":
        log.symlink_to("/etc/passwd")
    else:
        log.write_text("x" * (10 if kind == "large" else 1))
        if kind == "linked twice":
            (folder / "second").hardlink_to(log)
    (folder / "logs" / "zz.log").write_text("x" * 10)
    if known:
        configure(folder, f'"{folder}/logs/*.log"', "size 5\n copytruncate")
        failure("logrotate", call(folder, "rotate"), **ways(folder))
    failed = failure("logrotate", call(folder), **ways(folder))
    if kind == "open folder":
        # logrotate fails by itself there, and what is told of it is no row.
        assert failed.error_class == "capability_missing" and failed.output is not None
        assert "logs" not in failed.output
        return
    assert failed.error_class == "output_unparsable", failed
    assert "line break" in failed.message


def test_a_folder_is_no_log(folder: Path) -> None:
    (folder / "logs" / f"a.log{_BLOCK}\nx.log").mkdir()
    (folder / "logs" / "zz.log").write_text("x" * 10)
    found = answer("logrotate", call(folder), **ways(folder))
    assert found["logs"] == [{"log": f"{folder}/logs/zz.log", "rotates": True}]


def test_the_name_of_a_folder_on_the_way_forges_no_row(folder: Path) -> None:
    configure(folder, f'"{folder}/logs/*/*.log"')
    odd = folder / "logs" / f"a.log{_BLOCK}\nconsidering log "
    (odd).mkdir(parents=True)
    (odd / "x.log").write_text("x" * 10)
    failed = failure("logrotate", call(folder), **ways(folder))
    assert failed.error_class == "output_unparsable", failed


def test_the_class_of_a_failure_is_not_that_of_a_name(folder: Path) -> None:
    (folder / "logs" / "Permission denied.log").write_text("x" * 10)
    (folder / "logs" / "cannot stat.log").write_text("x" * 10)
    configure(folder, f'"{folder}/logs/*.log"', "size 5\n create 0600 nobody-such root")
    failed = failure("logrotate", call(folder), **ways(folder))
    assert failed.error_class == "invalid_parameters", failed
    gone = {**call(folder), "path": str(folder / "gone.conf")}
    assert failure("logrotate", gone, **ways(folder)).error_class == "not_found"


def test_logs_that_may_be_missing_with_their_folder(folder: Path) -> None:
    """Of such a log logrotate says nothing more; another one follows."""
    (folder / "logs" / "there.log").write_text("x" * 10)
    for logs in (
        ["/nowhere/one.log", f"{folder}/logs/there.log", "/nowhere/two.log"],
        [f"{folder}/logs/there.log", "/nowhere/one.log"],
    ):
        entries = "".join(f'"{log}" {{\n missingok\n size 5\n}}\n' for log in logs)
        (folder / "rotate.conf").write_text(entries)
        found = answer("logrotate", call(folder), **ways(folder))
        assert [row["log"] for row in found["logs"]] == logs
        assert found["rotated"] == [f"{folder}/logs/there.log"]
