"""Files of schedules: what is found in them, and what an apply would change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.applied_files import Fault
from console.cli import main
from console.exits import Exit, Failure
from console.schedule_files import against, read
from console.schedule_view import document
from console.starter_actions import changes_of
from processors.schedules.state import ScheduleState
from reading.procedures import Applied
from reading.schedules import next_moments, status
from streams.procedures import ProcedureRecord
from streams.schedules import Schedule

Capture = pytest.CaptureFixture[str]
GOOD = "name: {name}\nprocedure: disk-check\ncron: 0 8 * * *\n"


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_folder_of_two_thousand(tmp_path: Path) -> None:
    for number in range(2_000):
        write(tmp_path, f"{number}.yaml", GOOD.format(name=f"s{number}"))
    found, faults = read(tmp_path)
    assert (len(found), faults) == (2_000, [])


def test_one_file_and_odd_names_of_files(tmp_path: Path) -> None:
    for name in ("-rf.yaml", "a b.yml", "ü\n.yaml"):
        file = write(tmp_path, name, GOOD.format(name="one"))
        (found,), faults = read(file)
        assert (found.file, found.name, faults) == (name, "one", [])
        file.unlink()


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("name: a\nprocedure: p\ncorn: 1 * * * *\n", "corn",
         "there is no such field; did you mean cron?"),
        ("name: a\nprocedure: p\ncron: 30 2 30 2 *\n", "cron",
         "its day of the month must be 1 to 31, L or LW, and one that a month has: 30 2 30 2 *"),
        ("name: a\nprocedure: p\ncron: 0 2 * * *\ntimezone: Europe/Berlinn\n", "timezone",
         "there is no time zone 'Europe/Berlinn'; did you mean Europe/Berlin?"),
        ("name: a\nprocedure: p\n", "cron", "give exactly one of cron, every_seconds and at"),
        ("name: a\nprocedure: p\ncron: 0 2 * * *\nat: 2026-01-01T00:00:00Z\n", "cron",
         "give exactly one of cron, every_seconds and at"),
        ("procedure: p\ncron: 0 2 * * *\n", "name", "it is required"),
        ("name: -rf\nprocedure: p\ncron: 0 2 * * *\n", "name",
         "String should match pattern '^[a-z0-9][a-z0-9._-]{0,99}$'"),
        ("name: a\nprocedure: p\nevery_seconds: 1\n", "every_seconds",
         "Input should be greater than or equal to 5"),
        ("name: a\nprocedure: p\nat: 2026-01-01T00:00:00\n", "at",
         "Input should have timezone info"),
        ("name: a\nprocedure: p\ncron: 0 2 * * *\nmisfire: {policy: never}\n", "misfire.policy",
         "Input should be 'latest', 'all' or 'skip'"),
        ("name: a\nprocedure: p\ncron: 0 2 * * *\nmisfire: {polcy: all}\n", "misfire.polcy",
         "there is no such field; did you mean policy?"),
        ("name: a\nname: b\n", "", "the key 'name' occurs twice"),
        (f"name: a\nprocedure: p\ncron: 0 2 * * *\ninputs: {{x: {'y' * 70_000}}}\n", "inputs",
         "bytes are more than a schedule may have; give long inputs to the plan"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, field: str, message: str) -> None:
    _, faults = read(write(tmp_path, "s.yaml", text))
    (fault,) = faults
    assert (fault.file, fault.field) == ("s.yaml", field), fault
    assert message in fault.message


def test_names_are_unique(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        write(tmp_path, name, GOOD.format(name="same"))
    assert read(tmp_path)[1] == [
        Fault("b.yaml", "name", "same is the name of a.yaml too; names must be unique")
    ]


def test_lint_needs_no_kafka(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    write(tmp_path, "a.yaml", GOOD.format(name="a"))
    assert main(["schedules", "lint", str(tmp_path)]) == Exit.OK
    write(tmp_path, "b.yaml", "name: b\n")
    capsys.readouterr()
    assert main(["schedules", "lint", str(tmp_path), "--json"]) == Exit.FAILED
    assert [one["file"] for one in json.loads(capsys.readouterr().out)] == ["b.yaml"]
    assert main(["schedules", "lint", str(tmp_path / "none")]) == Exit.USAGE
    assert main(["schedules", "apply", str(tmp_path), "--yes"]) == Exit.FAILED
    assert "nothing was applied: 1 problem" in capsys.readouterr().err


def schedule(name: str = "a", **fields: object) -> Schedule:
    return Schedule.model_validate(
        {"name": name, "procedure": "disk-check", "cron": "0 8 * * *", **fields}
    )


def state_of(found: Schedule, **fields: object) -> ScheduleState:
    begin = 1_790_000_000.0
    made = ScheduleState("default", found.name, found, "ops", "kid", begin, begin)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_an_apply_sends_what_has_changed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, f"{name}.yaml", GOOD.format(name=name))
    found, _ = read(tmp_path)
    there = {
        "a": schedule("a"),
        "b": schedule("b", overlap="queue"),
        "gone": schedule("gone"),
    }
    changes = changes_of(found, there)
    assert [one.name for one in changes.written] == ["b", "c"]
    assert [one.name for one in changes.removed] == ["gone"] and changes.unchanged == 1
    assert len(changes_of(found, there, again=True).written) == 3


def test_inputs_are_checked_against_what_is_applied(tmp_path: Path) -> None:
    for name, more in (
        ("good", "inputs: {limit: 3}\nmoment_input: day\n"),
        ("bad", "inputs: {limit: three, colour: red}\n"),
        ("none", ""),
        ("other", ""),
    ):
        procedure = "disk-chek" if name == "other" else "disk-check"
        version = "version: 9\n" if name == "none" else ""
        text = GOOD.format(name=name).replace("disk-check", procedure)
        write(tmp_path, f"{name}.yaml", text + version + more)
    plan = {
        "inputs": {"limit": {"type": "integer", "default": 1}, "day": {"default": ""}},
        "steps": [{"tool": "df"}],
    }
    record = ProcedureRecord(name="disk-check", version="1", tenant="default", plan=plan)
    found, faults = read(tmp_path)
    assert faults == []
    wrong, doubts = against(found, {"disk-check": Applied(record, signed=True)})
    assert [(one.file, one.field) for one in wrong] == [
        ("bad.yaml", "inputs.colour"), ("bad.yaml", "inputs.limit"),
    ]  # fmt: skip
    assert [(one.file, one.field) for one in doubts] == [
        ("none.yaml", "version"), ("other.yaml", "procedure"),
    ]  # fmt: skip
    assert "did you mean disk-check?" in doubts[1].message


def test_how_a_schedule_stands() -> None:
    daily = state_of(schedule(timezone="Europe/Berlin"))
    assert status(daily) == "waiting"
    first, second = next_moments(daily, 2)
    assert second - first == 86_400
    paused = state_of(schedule(), paused=True)
    assert (status(paused), next_moments(paused, 3)) == ("paused", [])
    once = state_of(Schedule.model_validate(
        {"name": "a", "procedure": "p", "at": "2026-01-01T00:00:00Z"}
    ))  # fmt: skip
    assert (status(once), document(once, 5)["next"]) == ("done", [])
    gone = state_of(schedule(timezone="Europe/Bonn"))
    assert status(gone) == "unusable"
    assert "there is no time zone 'Europe/Bonn'" in document(gone, 1)["problem"]


def test_whoever_is_asked_nothing_by_a_script(tmp_path: Path) -> None:
    from console.applying import ask

    with pytest.raises(Failure, match="there is nobody to ask"):
        ask("remove it?", "nothing was removed")
