"""Plan files: what YAML and JSON must not do to a plan."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from console import planfile
from console.cli import main
from console.exits import Exit, Failure
from runtime import plan_documents
from streams.limits import MAX_REQUEST_BYTES


def value(text: str) -> object:
    """What one YAML value becomes in a plan."""
    return plan_documents.parse(f"steps:\n  - tool: x\n    parameters: {{v: {text}}}\n")["steps"][
        0
    ]["parameters"]["v"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12:30:00", "12:30:00"),
        ("0644", "0644"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2026-11-20", "2026-11-20"),
        ("1.2.3", "1.2.3"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("0b11", "0b11"),
        ("0o17", "0o17"),
        ("=", "="),
        ("Null", None),
        ("TRUE", True),
        ("0", 0),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("'7'", "7"),
        ("héllo", "héllo"),
    ],
)
def test_only_what_looks_like_json_is_anything_but_text(text: str, meant: object) -> None:
    found = value(text)
    assert found == meant
    assert type(found) is type(meant)


def test_keys_are_text_as_written() -> None:
    found = plan_documents.parse("steps: [{tool: x, parameters: {8080: a, true: b, null: c}}]")
    assert list(found["steps"][0]["parameters"]) == ["8080", "true", "null"]


def test_a_version_line_changes_nothing() -> None:
    found = plan_documents.parse(
        "%YAML 1.1\n---\nsteps: [{tool: x, parameters: {v: no, w: 12:30}}]\n"
    )
    assert found["steps"][0]["parameters"] == {"v": "no", "w": "12:30"}


def test_merge_keys_and_anchors_work() -> None:
    found = plan_documents.parse(
        "common: &c {host: web-01, path: /}\n"
        "steps:\n  - {tool: df, parameters: {<<: *c, path: /tmp}}\n  - {tool: df, parameters: *c}\n"
    )
    assert found["steps"][0]["parameters"] == {"host": "web-01", "path": "/tmp"}
    assert found["steps"][1]["parameters"] == {"host": "web-01", "path": "/"}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


MERGE_BOMB = "a0: &a0 {b: 1, c: 2, d: 3, e: 4, f: 5, g: 6, h: 7, i: 8, j: 9}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: []\nsteps: []\n", "line 2, column 1: the key 'steps' occurs twice"),
        ('{"steps": [], "steps": []}', "the key 'steps' occurs twice"),
        ('{"steps": [{"tool": "x", "tool": "y"}]}', "the key 'tool' occurs twice"),
        ("a: &a {x: 1}\nsteps: [{<<: *a, y: 1, y: 2}]", "line 2, column 24: the key 'y' occurs"),
        ("steps: [{<<: {x: 1}, <<: {x: 2}}]", "the key '<<' occurs twice"),
        (f"{MERGE_BOMB}steps: [*a9]\n", "merges more than 10000"),
        (f"steps: []\nsteps: {'x' * 60_000}", "line 2, column 1: the key 'steps' occurs twice"),
        (f"{BOMB}steps: *a9\n", "expanded larger than"),
        (f"steps: [&a 1, {', '.join(['*a'] * 1_001)}]", "more than 1000 aliases"),
        ("steps: &a [*a]", "contains itself"),
        ("steps: " + "[" * 65 + "]" * 65, "nested deeper than 64"),
        ('{"steps": ' + "[" * 70 + "]" * 70 + "}", "nested deeper than 64"),
        ('{"steps": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested deeper than 64"),
        ("steps: [{tool: x, parameters: {v: .nan}}]", "steps[0].parameters.v: nan"),
        ("steps: [{tool: x, parameters: {v: -.inf}}]", "steps[0].parameters.v: -inf"),
        ('{"steps": [{"v": NaN}]}', "steps[0].v: nan"),
        ('{"steps": [{"v": 1e999}]}', "steps[0].v: inf"),
        ('{"steps": ["\\ud800"]}', "half of a surrogate pair"),
        ("steps: [!!python/object/apply:os.system [id]]", "could not determine a constructor"),
        ("steps: [!!binary aGk=]", "a bytes is not JSON"),
        ("steps: [!!timestamp 2026-11-20]", "a date is not JSON"),
        ("? [a]\n: b\n", "a key must be text"),
        ("steps: [a\nb: c", "line 2"),
        ("- steps", "expected a mapping with `steps`"),
        ("", "expected a mapping with `steps`"),
        ("step: []", "expected a mapping with `steps`"),
        ("--- {steps: []}\n--- {steps: []}\n", "expected a single document"),
    ],
)
def test_what_is_wrong_is_said_and_where(text: str, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        plan_documents.parse(text)
    assert said in str(raised.value)


def test_a_json_file_is_read_as_json_only() -> None:
    with pytest.raises(ValueError, match="line 1, column 2: not JSON"):
        plan_documents.parse("{steps: []}", prefer_json=True)
    assert plan_documents.parse("{steps: []}") == {"steps": []}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (MAX_REQUEST_BYTES + 1), "larger than the 512 KiB"),
    ],
)
def test_bytes_that_are_no_plan(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content)
    with pytest.raises(Failure) as raised:
        planfile.load(str(path))
    assert raised.value.code is Exit.USAGE
    assert said in raised.value.message
    assert "plan.yaml" in raised.value.message


def test_a_byte_order_mark_is_no_part_of_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b'\xef\xbb\xbf{"steps": []}')
    assert planfile.load(str(path)) == {"steps": []}


def test_a_dash_means_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"steps: [{tool: df}]")))
    assert planfile.load("-") == {"steps": [{"tool": "df"}]}


def test_a_missing_file_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no-such-plan.yaml"]) == Exit.USAGE
    captured = capsys.readouterr()
    assert "no-such-plan.yaml cannot be read: No such file" in captured.err
    assert captured.out == ""
