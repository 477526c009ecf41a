"""Policy files: every fault by field, line and remedy; read again when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authority.policy_file import Fault, PolicyError, PolicyFile, built_in_text, parse, read
from toolmeta import registry

TOOLS = registry.load()
HEAD = "version: 1\nroles:\n  ops: [{tenants: [a], actors: [b]}]\nrules:\n"
GOOD = "  - {id: a, effect: allow, actors: [b], actions: [read]}\n"


def faults(text: str) -> list[Fault]:
    with pytest.raises(PolicyError) as raised:
        parse(text, TOOLS)
    return raised.value.faults


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("", None, "", "a mapping with version: 1"),
        ("- a\n", None, "", "a mapping with version: 1"),
        ("version: 1\n", None, "rules", "required"),
        ("version: 2\nrules: []\n", 1, "version", "input should be 1"),
        ("version: 1\nversion: 1\nrules: []\n", 2, "", "occurs twice"),
        (HEAD + GOOD + GOOD, 6, "rules[1].id", "a is the id of rules[0] too"),
        (HEAD + "  - id: a\n    id: b\n", 6, "", "occurs twice"),
        (HEAD + "  - {id: a, effect: allow, actors: [b]}\n", 5, "rules[0].actions", "says what"),
        (HEAD + "  - {id: a, effect: allow, actions: [read]}\n", 5, "rules[0].actors", "whom"),
        (HEAD + "  - {id: a, effect: permit, actions: [read]}\n", 5, "rules[0].effect", "'deny'"),
        (HEAD + "  - {id: a, effect: deny, actions: [raed]}\n", 5, "rules[0].actions[0]", "'read'"),
        (HEAD + "  - {id: a, effect: deny, actions: []}\n", 5, "rules[0].actions", "at least 1"),
        (HEAD + "  - {id: a, effect: deny, actions: read}\n", 5, "rules[0].actions", "tuple"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], toolz: [df]}\n", 5, "rules[0].toolz",
         "no such field"),
        (HEAD + "  - id: a\n    effect: deny\n    actions: [read]\n    tools:\n      - dff\n", 9,
         "rules[0].tools[0]", "did you mean df?"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], tools: ['zzz*']}\n", 5,
         "rules[0].tools[0]", "no tool is named zzz*"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], roles: [opps]}\n", 5, "rules[0].roles",
         "there is no role opps"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], tags: [db]}\n", 5, "rules[0].tags",
         "there is no tag db"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], own: true}\n", 5, "rules[0].own",
         "controls only"),
        (HEAD + "  - {id: a, effect: deny, controls: [cancel], tools: [df]}\n", 5,
         "rules[0].tools", "write two rules"),
        (HEAD + "  - {id: A b, effect: deny, actions: [read]}\n", 5, "rules[0].id", "match"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], actors: ['M\u0430llory']}\n", 5,
         "rules[0].actors[0]", "match"),
        (HEAD + "  - {id: a, effect: deny, actions: [read], approval_levels: [4]}\n", 5,
         "rules[0].approval_levels[0]", "less than or equal to 3"),
        (HEAD + "  - &a {id: a, effect: deny, actions: [read]}\n  - *a\n", 6, "", "alias"),
        ("a: [\n", None, "", "expected"),
        ("[" * 5_000, None, "", "deep"),
    ],
)  # fmt: skip
def test_a_fault_says_where_and_what_to_do(
    text: str, line: int | None, field: str, words: str
) -> None:
    first = faults(text)[0]
    assert first.field == field
    assert words in first.message
    if line is not None:
        assert first.line == line
        assert str(first).startswith(f"line {line}: ")


def test_every_fault_is_named() -> None:
    found = faults(HEAD + "  - {id: A, effect: x, actions: [y]}\n")
    assert {fault.field for fault in found} >= {"rules[0].id", "rules[0].effect"}


def test_the_built_in_policy_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(built_in_text())
    assert read(file, TOOLS).document.rules[0].id == "admin-runs"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"# " + b"x" * 300_000])
def test_what_is_no_text_of_a_sensible_size_is_refused(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PolicyError):
        read(file, TOOLS)


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_the_old_policy(
    tmp_path: Path,
) -> None:
    file, errors = tmp_path / "policy.yaml", list[PolicyError]()
    file.write_text(HEAD + GOOD)
    found = PolicyFile(file, TOOLS, errors.append)
    assert not found.refresh()
    replacement = tmp_path / "new.yaml"
    replacement.write_text((HEAD + GOOD).replace("id: a", "id: b"))
    replacement.replace(file)
    assert found.refresh()
    assert [rule.id for rule in found.current.document.rules] == ["b"]

    file.write_text("rules: [")
    assert not found.refresh()
    assert not found.refresh()
    assert len(errors) == 1, "reported once per change"
    file.unlink()
    assert not found.refresh()
    assert len(errors) == 2
    assert [rule.id for rule in found.current.document.rules] == ["b"]

    file.write_text(HEAD + GOOD)
    stamp = file.stat().st_mtime_ns + 1_000_000
    os.utime(file, ns=(stamp, stamp))
    assert found.refresh()
    assert [rule.id for rule in found.current.document.rules] == ["a"]
