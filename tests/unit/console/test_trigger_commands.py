"""`runstream triggers lint` and `test`: what needs neither Kafka nor a database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.exits import Exit

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "demo" / "triggers" / "disk-alert.yaml"
PROCEDURE = ROOT / "demo" / "procedures" / "disk-check.yaml"
Capture = pytest.CaptureFixture[str]


def message(folder: Path, *alerts: tuple[str, Any]) -> str:
    told = [
        {"status": status, "fingerprint": f"f{number}",
         "labels": {"alertname": "DiskNearlyFull", "mountpoint": path}}
        for number, (status, path) in enumerate(alerts)
    ]  # fmt: skip
    file = folder / "message.json"
    file.write_text(json.dumps({"alerts": told}))
    return str(file)


def trial(folder: Path, capsys: Capture, *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["triggers", "test", str(DEMO), *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_trigger_of_the_demo_starts_its_procedure_for_what_fires(
    tmp_path: Path, capsys: Capture
) -> None:
    assert main(["triggers", "lint", str(DEMO.parent)]) == Exit.OK
    capsys.readouterr()
    given = message(tmp_path, ("firing", "/var"), ("resolved", "/srv"))
    words = ("--message", given, "--procedure", str(PROCEDURE))
    code, told = trial(tmp_path, capsys, *words)
    assert code == Exit.OK
    assert (told["starts"], told["inputs_checked"]) == (1, True)
    first, second = told["results"]
    assert first["inputs"] == {"path": "/var", "limit": 80}
    assert first["deduplicate"] == "f0"
    assert second["result"] == "does not match"


def test_the_exit_code_says_what_a_message_would_do(tmp_path: Path, capsys: Capture) -> None:
    code, told = trial(tmp_path, capsys, "--message", message(tmp_path, ("resolved", "/")))
    assert (code, told["starts"]) == (Exit.FAILED, 0)
    (tmp_path / "odd").write_bytes(b"not json \xff")
    code, told = trial(tmp_path, capsys, "--message", str(tmp_path / "odd"))
    assert code == Exit.FAILED
    assert told["results"][0]["field"] == "for_each"
    # The procedure's pattern is /.*, and its type is string.
    for path in ("var", 7, None, {"type": "secret", "path": "env/ROOT"}):
        given = message(tmp_path, ("firing", path))
        code, told = trial(tmp_path, capsys, "--message", given, "--procedure", str(PROCEDURE))
        refused = code == Exit.REJECTED and "inputs.path" in told["results"][0]["problems"][0]
        named = code == Exit.FAILED and "name a secret" in told["results"][0]["error"]
        assert refused or named or (path is None and code == Exit.OK), path
    assert main(["triggers", "test", str(DEMO), "--message", str(tmp_path / "no")]) == Exit.USAGE
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"topic": "execution.requests"}, "topic: execution.requests is one of Runstream's own"),
        ({"topic": "a b"}, "topic: "),
        ({"wehn": "true"}, "wehn: there is no such field; did you mean when?"),
        ({"when": "item.status =="}, "when: `item.status ==`: not a CEL expression"),
        ({"when": "mesage.status"}, "there is no mesage; there are message, text, key"),
        ({"for_each": "item.alerts"}, "item is there only where for_each gives a list"),
        ({"for_each": None}, "item is there only where for_each gives a list"),
        ({"inputs": {"path": "{{ labels.x }}"}}, "inputs.path: `labels.x`: there is no labels"),
        ({"deduplicate": {"key": "x(", "window_seconds": 1}}, "deduplicate.key: "),
        ({"deduplicate": {"key": "item", "window_seconds": 0}}, "deduplicate.window_seconds: "),
        ({"limit": {"starts": 0}}, "limit.starts: "),
        ({"name": "No Name"}, "name: "),
        ({"procedure": None}, "procedure: "),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_with_its_field(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: Capture
) -> None:
    import yaml

    told = {**yaml.safe_load(DEMO.read_text()), **change}
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(told))
    assert main(["triggers", "lint", str(file)]) == Exit.FAILED
    assert said in capsys.readouterr().err


def test_two_files_of_one_name_and_no_file_are_refused(tmp_path: Path, capsys: Capture) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(DEMO.read_text())
    assert main(["triggers", "lint", str(tmp_path)]) == Exit.FAILED
    assert "is the name of a.yaml too" in capsys.readouterr().err
    assert main(["triggers", "lint", str(tmp_path / "c")]) == Exit.USAGE
