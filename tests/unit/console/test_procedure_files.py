"""Folders of procedures: what lint says, and what an apply would change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.exits import Exit, Failure
from console.given_inputs import value_of, with_inputs
from console.procedure_files import ProcedureFile
from console.procedures import changes_of
from reading.procedures import Applied
from streams.procedures import ProcedureRecord

Capture = pytest.CaptureFixture[str]

GOOD = """
name: restart-web
version: 1
inputs:
  hosts: {type: list, items: string, min_length: 1}
  unit: {enum: [nginx, apache2]}
  seconds: {type: integer, default: 30}
  login: {secret: true}
  environment: {enum: [dev, staging]}
environment: "{{ inputs.environment }}"
steps:
  - id: restart
    tool: systemctl
    for_each: inputs.hosts
    timeout_seconds: "{{ inputs.seconds }}"
    assets: ["{{ inputs.unit }}"]
    secrets: {ssh_key: "{{ inputs.login }}"}
    parameters: {host: "{{ item }}", action: restart, unit: "{{ inputs.unit }}"}
"""


def lint(folder: Path, capsys: Capture) -> list[dict[str, str]]:
    code = main(["procedures", "lint", str(folder), "--json"])
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    assert code == (Exit.FAILED if found else Exit.OK)
    return found


def test_a_good_folder_has_no_problem_whatever_the_files_are_called(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "-web" / "ünï\ncode").mkdir(parents=True)
    (tmp_path / "-web" / "ünï\ncode" / "a b.yaml").write_text(GOOD)
    (tmp_path / "other.json").write_text(
        json.dumps({"name": "other", "version": "1.10", "steps": [{"tool": "uptime"}]})
    )
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index.yaml").write_text("no plan")
    (tmp_path / "README.md").write_text("no plan")
    assert lint(tmp_path, capsys) == []


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (("name: restart-web", "name: Restart Web"), "name", "must match"),
        (("version: 1", ""), "version", "it is required"),
        (("version: 1", "version: 1.10"), "version", "quotes"),
        (("tool: systemctl", "tool: sistemctl"), "steps[0].tool", "did you mean systemctl?"),
        (("action: restart", "acton: restart"), "steps[0].parameters.acton", ""),
        (("inputs.hosts", "inputs.host"), "steps[0].for_each", "did you mean hosts?"),
        (("type: integer", "type: int"), "inputs.seconds.type", "integer"),
        (("default: 30", "default: soon"), "inputs.seconds.default", "type integer"),
        (("default: 30", "defualt: 30"), "inputs.seconds.defualt", "no such field"),
        (("timeout_seconds:", "timeout:"), "steps[0].timeout", "no such field"),
        (("enum: [dev, staging]", "enum: [moon]"), "environment", "dev"),
        (("unit: \"{{ inputs.unit }}\"", "unit: \"{{ inputs.login }}\""),
         "steps[0].parameters.unit", "is a secret"),
        (("for_each: inputs.hosts", "for_each: inputs.hosts\n    when: inputs.hosts +"),
         "steps[0].when", "CEL"),
        (("steps:", "steps: ["), "", "line"),
        (("name:", "plan:"), "plan", "take the request away"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_its_file_and_field(
    tmp_path: Path, capsys: Capture, change: tuple[str, str], field: str, words: str
) -> None:
    text = GOOD.replace(*change, 1)
    assert text != GOOD
    (tmp_path / "web.yaml").write_text(text)
    found = lint(tmp_path, capsys)
    assert found[0]["file"] == "web.yaml"
    assert found[0]["field"] == field, found
    assert words in found[0]["message"]


def test_two_files_cannot_have_one_name(tmp_path: Path, capsys: Capture) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD)
    assert lint(tmp_path, capsys) == [
        {"file": "b.yaml", "field": "name",
         "message": "restart-web is the name of a.yaml too; names must be unique"},
    ]  # fmt: skip


def test_what_is_no_folder_of_procedures_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert main(["procedures", "lint", str(tmp_path / "none")]) == Exit.USAGE
    assert "is no folder" in capsys.readouterr().err
    assert main(["procedures", "lint", str(tmp_path)]) == Exit.USAGE
    assert "has no procedure" in capsys.readouterr().err
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.yaml").write_text("x" * 600_000)
    assert [one["file"] for one in lint(tmp_path, capsys)] == ["a.yaml", "b.yaml"]


def file(version: str, **more: Any) -> ProcedureFile:
    plan = {"name": "a", "version": version, "steps": [{"tool": "df"}], **more}
    return ProcedureFile("a.yaml", "a", version, plan)


def applied(version: str, name: str = "a", **more: Any) -> Applied:
    plan = {"name": name, "version": version, "steps": [{"tool": "df"}], **more}
    return Applied(ProcedureRecord(tenant="t", name=name, version=version, plan=plan), signed=True)


def test_only_what_has_changed_is_written_and_what_is_gone_is_told() -> None:
    new = changes_of([file("1")], {})
    assert (len(new.written), new.unchanged) == (1, 0)
    same = changes_of([file("1")], {"a": applied("1"), "b": applied("1", "b")})
    assert (same.written, same.unchanged) == ([], 1)
    assert [one.record.name for one in same.removed] == ["b"]
    # Its signature may not count any more.
    assert changes_of([file("1")], {"a": applied("1")}, again=True).written == [file("1")]
    assert changes_of([file("2")], {"a": applied("1")}).written == [file("2")]
    # Back to a version that was there before.
    assert changes_of([file("1")], {"a": applied("2")}).written == [file("1")]


def test_a_version_means_one_content() -> None:
    with pytest.raises(Failure, match="its version is still 1"):
        changes_of([file("1", priority=2)], {"a": applied("1")})


DECLARED: dict[str, Any] = {
    "s": {}, "n": {"type": "integer"}, "l": {"type": "list"}, "t": {"secret": True},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("s", "3", "3"),
        ("s", "a=b {{ x }}", "a=b {{ x }}"),
        ("s", "", ""),
        ("n", "3", 3),
        ("n", "1.5", 1.5),  # the router says that it is no integer
        ("l", '["a"]', ["a"]),
        ("t", "env/TOKEN", {"type": "secret", "path": "env/TOKEN"}),
        ("unknown", "x", "x"),
    ],
)
def test_a_text_is_read_by_its_declared_type(name: str, text: str, value: Any) -> None:
    assert value_of(name, text, DECLARED.get(name, {})) == value


def test_set_wins_over_the_file_and_the_file_over_the_request(tmp_path: Path) -> None:
    given = tmp_path / "inputs.yaml"
    given.write_text("s: from the file\nn: 1\n")
    plan = {"steps": [{"tool": "df"}], "inputs": DECLARED}
    bare = with_inputs({**plan, "tenant": "acme"}, DECLARED, ["n=2"], given)
    assert bare == {"tenant": "acme", "plan": plan, "inputs": {"s": "from the file", "n": 2}}
    whole = with_inputs({"plan": plan, "inputs": {"s": "a", "l": []}}, DECLARED, [], given)
    assert whole["inputs"] == {"s": "from the file", "l": [], "n": 1}


@pytest.mark.parametrize("text", ["n=three", "n", "=3"])
def test_what_cannot_be_read_is_said_before_anything_is_sent(text: str) -> None:
    with pytest.raises(Failure):
        with_inputs({"procedure": "a"}, DECLARED, [text], None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "p.yaml", "--procedure", "a"], "give the file of a plan, or --procedure"),
        (["run", "p.yaml", "--version", "1"], "--version is of a procedure"),
        (["run", "--procedure", "a", "--environment", "prod"], "says itself where it acts"),
        (["run", "--procedure", "a", "--inputs", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == Exit.USAGE
    assert said in capsys.readouterr().err
