"""What the definitions make of parameters and of the objects that come back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from drivers.context import Success
from drivers.values import KEPT_BYTES
from tests.fakes.psrp import security
from tests.fakes.psrp.clixml import Typed
from tests.fakes.psrp.shells import Reply
from tests.tools.windows.kit import Lab, bound, login, output
from toolmeta import registry
from toolmeta.invocation import Invocation

WINDOWS = [tool for tool in registry.load().all() if tool.kind == "windows"]


SCRIPTS = {"powershell", "invoke_command", "measure_command", "start_job"}


@pytest.mark.tried(*(tool.name for tool in WINDOWS), inputs=("password",))
@pytest.mark.parametrize("tool", WINDOWS, ids=lambda tool: tool.name)
def test_the_example_runs_and_its_output_fits(lab: Lab, tool: Any) -> None:
    host = lab.host()
    given = {**tool.example.parameters, **login(host)}
    outcome, run = lab.attempt(bound(tool.name, given))
    found = output(tool.name, outcome)
    assert found["errors"] == []
    # Every field of the example is one that the host's objects fill.
    assert set(tool.example.output) - {"content"} <= set(found)
    for name, items in tool.example.output.items():
        if isinstance(items, list) and items and isinstance(items[0], dict) and name != "objects":
            assert set(items[0]) <= set(found[name][0]), name
    assert len(host.calls) == 1
    assert host.shells == {}
    assert security.PASSWORD.encode() not in bytes(run.output.stdout) + bytes(run.output.stderr)


HOSTILE = [
    "; id", "$(id)", "`id`", "a\nb", "--help", "-oProxyCommand=x", "@file", "| id", "\u2010x",
    "' + 'a", '"; Remove-Item C:\\ #', "_x0041_", "]]>&amp;<S>", "a\U0001f600b", "%PATH%", "{0}",
    "* ? [a]",
]  # fmt: skip


@pytest.mark.tried("get_acl", "get_filehash", "test_path", inputs=("names",))
@pytest.mark.parametrize("tool", WINDOWS, ids=lambda tool: tool.name)
def test_no_value_becomes_part_of_a_command(tool: Any) -> None:
    """Whatever a parameter holds, the text of the commands stays the definition's own."""
    texts: set[tuple[str, ...]] = set()
    for name, shape in tool.parameters.items():
        if name == "script" and tool.name == "powershell":
            continue
        for text in HOSTILE:
            value: Any = [text] if shape.type == "array" else text
            problems = _bind(tool, {**tool.example.parameters, name: value})
            if isinstance(problems, Invocation):
                arguments = problems.arguments
                texts.add((str(arguments.get("cmdlet")), str(arguments.get("script"))))
    assert len(texts) <= 1, texts


def _bind(tool: Any, parameters: dict[str, Any]) -> Any:
    from toolmeta.bind import bind

    return bind(tool, parameters)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_arrives_as_one_bound_value(lab: Lab, text: str) -> None:
    host = lab.host()
    given = {
        "script": "param($Name) $Name",
        "arguments": {"Name": text, "Many": [text, 1.5, 2**40]},
    }
    outcome, _ = lab.attempt(bound("powershell", {**login(host), **given}))
    assert host.calls[0].first["name"] == "param($Name) $Name"
    assert host.calls[0].first["parameters"] == {"Name": text, "Many": [text, 1.5, 2**40]}
    found = output("powershell", outcome)
    assert found["objects"][0]["Name"] == text
    found = host.calls[0].first
    assert found["is_script"]


def test_dates_tables_and_switches_are_bound_with_their_types(lab: Lab) -> None:
    host = lab.host()
    given = {"log_name": "System", "levels": [1], "after": "2026-01-31T08:00:00Z", "limit": 5}
    outcome, _ = lab.attempt(bound("get_winevent", {**login(host), **given}))
    assert output("get_winevent", outcome)["events"][0]["level_name"] == "Error"
    assert host.calls[0].first["parameters"] == {
        "FilterHashtable": {
            "LogName": "System",
            "Level": [1],
            "StartTime": Typed("DT", "2026-01-31T08:00:00Z"),
        },
        "MaxEvents": 5,
    }
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "action": "stop", "names": "a"}))
    assert host.calls[1].first["name"] == "Stop-Service"
    assert host.calls[1].first["parameters"] == {"Name": ["a"], "Force": False, "PassThru": True}
    # A command that changes something is not cut short by a Select-Object -First.
    assert "First" not in host.calls[1].commands[1]["parameters"]


def test_more_than_the_limit_is_cut_and_said(lab: Lab) -> None:
    host = lab.host()
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "limit": 1}))
    found = output("get_service", outcome)
    assert (found["count"], found["truncated"]) == (1, True)
    outcome, _ = lab.attempt(bound("get_service", {**login(host), "limit": 2}))
    assert not output("get_service", outcome)["truncated"]


@pytest.mark.tried("powershell", inputs=("large", "long line"))
def test_an_endless_output_is_published_counted_and_bounded(lab: Lab) -> None:
    left = iter(range(3_000))

    def more() -> Any:
        return "x" * 2_000 if next(left, None) is not None else None

    host = lab.host(lambda _: Reply(stream=more))
    outcome, run = lab.attempt(bound("powershell", {**login(host), "script": "endless"}))
    assert isinstance(outcome, Success)
    assert outcome.output["count"] == 3_000
    kept = outcome.output["truncated_fields"]["objects"]
    assert kept == {"kept": len(outcome.output["objects"]), "of": 3_000}
    assert len(orjson.dumps(outcome.output)) < 1.1 * KEPT_BYTES
    assert len(run.output.stdout) == 3_000 * 2_001


def test_streams_beside_the_output(lab: Lab) -> None:
    reply = Reply(["one"], warnings=["low disk"], progress=("Copying", 40))
    host = lab.host(lambda _: reply)
    outcome, run = lab.attempt(bound("powershell", {**login(host), "script": "x"}))
    found = output("powershell", outcome)
    assert found["warnings"] == ["low disk"]
    assert (found["stdout"], found["exit_code"]) == ("one", 0)
    assert bytes(run.output.stderr) == b"WARNING: low disk\n"
    assert run.progress == [(40.0, "Copying")]
