"""`runstream policy check` and `explain`: exit codes, the rule that is named, and the JSON form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.exits import Exit

Capture = pytest.CaptureFixture[str]
POLICY = """
version: 1
tags:
  web: ["web-*"]
rules:
  - id: ann-runs
    effect: allow
    actors: [ann]
    actions: [read, write]
    tags: [web]
  - {id: ann-secrets, effect: allow, actors: [ann], secrets: ["env/WEB_*"], tools: [curl]}
  - {id: ann-steers, effect: allow, actors: [ann], own: true, controls: [cancel, pause]}
  - {id: ann-approves, effect: allow, actors: [ann], controls: [approve], approval_levels: [1]}
  - {id: no-prod-writes, effect: deny, actions: [write], environments: [prod]}
"""


@pytest.fixture(autouse=True)
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a policy, which no setting names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNSTREAM_POLICY", raising=False)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_check_of_a_usable_file_exits_0(capsys: Capture) -> None:
    assert main(["policy", "check", "policy.yaml"]) == Exit.OK
    assert "policy.yaml: 5 rules, no fault" in capsys.readouterr().err
    assert main(["policy", "check", "policy.yaml", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {
        "file": "policy.yaml", "ok": True, "rules": 5, "faults": [],
    }  # fmt: skip


def test_check_names_every_fault_by_line_and_field_and_exits_1(
    policy: Path, capsys: Capture
) -> None:
    policy.write_text(
        "version: 1\nrules:\n  - {id: a, effect: deny, actions: [read], tools: [systemctll]}\n"
        "  - {id: a, effect: permit, actions: [read]}\n"
    )
    assert main(["policy", "check", "policy.yaml"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "policy.yaml: line 4: rules[1].effect" in said
    assert main(["policy", "check", "policy.yaml", "--json"]) == Exit.FAILED
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["rules"]) == (False, 0)
    assert {"field": "rules[1].effect", "line": 4} in [
        {"field": one["field"], "line": one["line"]} for one in found["faults"]
    ]


def test_check_of_no_file_exits_1(capsys: Capture) -> None:
    assert main(["policy", "check", "absent.yaml"]) == Exit.FAILED
    assert "absent.yaml" in capsys.readouterr().err


ON_WEB = ["--tool", "systemctl", "--asset", "web-01"]
#: What decides where no rule does.
DEFAULT = "default-deny"
SECRET = ["--tool", "curl", "--secret"]


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (["--actor", "ann", *ON_WEB], "ann-runs"),
        (["--actor", "ANN", *ON_WEB, "--action", "read", "--environment", "prod"], "ann-runs"),
        (["--actor", "ann", *SECRET, "env/WEB_TOKEN"], "ann-secrets"),
        (["--actor", "ann", "--control", "cancel", "--own"], "ann-steers"),
        (["--actor", "ann", "--control", "approve", "--level", "1"], "ann-approves"),
    ],
)
def test_what_is_allowed_exits_0_and_names_the_rule(
    asked: list[str], rule: str, capsys: Capture
) -> None:
    command = ["policy", "explain", "--policy", "policy.yaml", *asked]
    assert main(command) == Exit.OK
    assert rule in capsys.readouterr().err
    assert main([*command, "--json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["allowed"], found["rule"]) == (True, rule)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (["--actor", "ann", *ON_WEB, "--environment", "prod"], "no-prod-writes"),
        (["--actor", "eve", *ON_WEB], DEFAULT),
        (["--actor", "ann", "--tool", "systemctl", "--asset", "db-01"], DEFAULT),
        (["--actor", "ann", "--tool", "systemctl", "--asset", "-"], DEFAULT),
        (["--actor", "ann", *SECRET, "env/DB_PASSWORD"], DEFAULT),
        (["--actor", "ann", "--tool", "webhook_sender", "--secret", "env/WEB_TOKEN"], DEFAULT),
        (["--actor", "ann", "--control", "cancel"], DEFAULT),
        (["--actor", "ann", "--control", "approve", "--own", "--level", "2"], DEFAULT),
        (["--tool", "df", "--asset", "web-01"], DEFAULT),
    ],
)
def test_what_is_denied_exits_3(asked: list[str], rule: str, capsys: Capture) -> None:
    command = ["policy", "explain", "--policy", "policy.yaml", *asked]
    assert main(command) == Exit.REJECTED
    said = capsys.readouterr().err
    assert ("no rule allows" if rule == DEFAULT else rule) in said
    assert main([*command, "--json"]) == Exit.REJECTED
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["allowed"], found["rule"]) == (False, rule)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "give --tool, or --control"),
        (["--tool", "systemctll"], "did you mean systemctl?"),
        (["--control", "destroy"], "--control: 'destroy' is none of"),
        (["--tool", "df", "--action", "reed"], "--action: 'reed' is none of"),
        (["--tool", "df", "--environment", "home"], "--environment: 'home' is none of"),
    ],
)
def test_a_question_about_nothing_exits_2(asked: list[str], said: str, capsys: Capture) -> None:
    assert main(["policy", "explain", "--policy", "policy.yaml", *asked]) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_a_policy_with_a_fault_explains_nothing(policy: Path, capsys: Capture) -> None:
    policy.write_text("version: 2\n")
    asked = ["policy", "explain", "--policy", "policy.yaml", "--tool", "df"]
    assert main(asked) == Exit.FAILED
    assert "runstream policy check policy.yaml" in capsys.readouterr().err


def test_the_setting_names_the_policy_and_without_it_the_built_in_one_counts(
    policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    asked = ["policy", "explain", "--actor", "eve", *ON_WEB, "--json"]
    assert main(asked) == Exit.OK
    assert json.loads(capsys.readouterr().out)["allowed"]
    monkeypatch.setenv("RUNSTREAM_POLICY", str(policy))
    assert main(asked) == Exit.REJECTED


def test_the_built_in_policy_that_is_shown_can_be_used(policy: Path, capsys: Capture) -> None:
    assert main(["policy", "show"]) == Exit.OK
    policy.write_text(capsys.readouterr().out)
    assert main(["policy", "check", "policy.yaml"]) == Exit.OK
