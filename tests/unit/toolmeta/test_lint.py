"""Lint names the file, the line, the field and the remedy of everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.own_tools import SAY_HELLO, write
from toolmeta.lint import lint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def test_a_right_definition_has_no_fault(folder: Path) -> None:
    write(folder)
    found = lint([folder])
    assert (found.files, found.faults) == (1, ())


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "told"),
    [
        ("kind: linux_cli", "knid: linux_cli", 6, "knid", "did you mean kind?"),
        ("timeout_seconds: 5", "timeout_seconds: -1", 24, "timeout_seconds", "greater than 0"),
        ("timeout_seconds: 5", "timeout_seconds: no", 24, None, "no is false"),
        ("effect: read", "effect: reed", 20, "risk.effect", "'read', 'modify' or 'destroy'"),
        ("parser: text", "parser: txet", 14, "run.parser", "there is no parser txet"),
        ("parser: text", "parser: 'plugin:none'", 14, "run.parser", "no parser plugin:none"),
        ("hello Ada]", "hello Eve]", 27, "example.argv", "write argv: ['echo', 'hello Ada']"),
        ("name: Ada}", "name: A7}", 26, "example.parameters", "parameters.name must match"),
        ("name: say_hello", "name: say_helo", 2, "name", "the file say_hello.yaml"),
        ("domain: automation", "domain: network", 3, "domain", "the folder automation"),
        ("kind: linux_cli", "kind: linux_cli\naliases: [DF]", 7, "aliases", "of the catalogue"),
        ("exit_code: 0, text", "exit_code: 0, txet", 28, "example.output", "field text is not"),
        ("  why_read: It writes to its own output only.\n", "", None, None, "why_read"),
        ("name: say_hello", "name: [", 4, None, "flow"),
    ],
)
def test_a_fault_has_its_place_and_its_remedy(
    folder: Path, old: str, new: str, line: int | None, field: str | None, told: str
) -> None:
    assert old in SAY_HELLO
    write(folder, SAY_HELLO.replace(old, new))
    faults = lint([folder]).faults
    assert faults, "nothing is found"
    assert any(told in str(fault) for fault in faults), faults
    (fault, *_) = [fault for fault in faults if told in str(fault)]
    assert fault.file == str(folder / "automation" / "say_hello.yaml")
    assert fault.field == field and fault.remedy
    assert line is None or fault.line == line
    assert "\n" not in str(fault)


def test_what_is_not_read_and_what_stands_twice_is_said(folder: Path) -> None:
    (folder / "one").mkdir(mode=0o755)
    (folder / "two").mkdir(mode=0o755)
    write(folder / "one")
    write(folder / "two")
    (folder / "one" / "automation" / "other.yml").write_text(SAY_HELLO)
    (folder / "one" / "lost.yaml").write_text(SAY_HELLO)
    found = lint([folder / "one", folder / "two", folder / "three"])
    told = [str(fault) for fault in found.faults]
    assert found.files == 2 and len(told) == 4
    assert any("other.yml: it is not read" in one for one in told)
    assert any("lost.yaml: it is not read" in one for one in told)
    assert any("three: there is no such file or folder" in one for one in told)
    (twice,) = [one for one in told if "already" in one]
    assert str(folder / "one" / "automation" / "say_hello.yaml") in twice
    assert twice.startswith(str(folder / "two" / "automation" / "say_hello.yaml"))


def test_one_file_is_looked_at_alone(folder: Path) -> None:
    write(folder)
    assert lint([folder / "automation" / "say_hello.yaml"]).files == 1
