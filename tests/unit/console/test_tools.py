"""`runstream tools`: filters, what `show` tells, what `check` finds on a machine."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from console import programs, tool_pages
from console.cli import main
from console.exits import Exit
from reading import tool_texts
from toolmeta import registry

Capture = pytest.CaptureFixture[str]


def test_list_filters_are_combined(capsys: Capture) -> None:
    assert main(["tools", "list", "--domain", "network", "--risk", "destroy", "--json"]) == Exit.OK
    listed = json.loads(capsys.readouterr().out)
    assert "axis_vapix_privacy_mask" in [tool["name"] for tool in listed]
    assert {(tool["domain"], tool["effect"]) for tool in listed} == {("network", "destroy")}
    assert main(["tools", "list", "--platform", "linux", "--json"]) == Exit.OK
    listed = json.loads(capsys.readouterr().out)
    assert {tool["platform"] for tool in listed} == {"linux"}
    assert main(["tools", "list", "--domain", "asset"]) == Exit.OK
    captured = capsys.readouterr()
    assert "asset_create" in captured.out
    assert "5 tools" in captured.err


@pytest.mark.parametrize("option", ["--domain", "--platform", "--risk"])
def test_a_filter_that_nothing_has_is_a_usage_error(option: str, capsys: Capture) -> None:
    assert main(["tools", "list", option, "moon"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "nothing is called 'moon'" in said
    assert "one of " in said


def test_show_tells_all_that_a_plan_needs(capsys: Capture) -> None:
    assert main(["tools", "show", "Axis-VAPIX-PTZ-Control"]) == Exit.OK
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "also called Axis-VAPIX-PTZ-Control",
        "destroy at worst; by operation: get_position: read",
        "not repeated after it may have acted",
        "(secret)",
        "Required when operation is move_to_preset_by_number.",
        "Also called rpan.",
        '"operation": "get_position"',
    ):
        assert words in said, words
    assert main(["tools", "show", "asset_delete"]) == Exit.OK
    said = capsys.readouterr().out
    assert "At least one of asset_id, hostname, ip_address must be given." in said
    assert "approval: in prod" in said
    assert main(["tools", "show", "df", "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["example"]["argv"][0] == "df"
    assert document["risk"]["effect"] == "read"


def test_validate_refuses_with_exit_3(capsys: Capture) -> None:
    assert main(["tools", "validate", "df", '{"path": "/"}']) == Exit.OK
    assert main(["tools", "validate", "df", '{"paht": "/"}']) == Exit.REJECTED
    assert "did you mean path?" in capsys.readouterr().err


def test_check_finds_what_is_there_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(programs, "_FOLDERS", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["tools", "check", "df", "asset_list", "--json"]
    assert main([*arguments, "--strict"]) == Exit.FAILED
    df, asset = json.loads(capsys.readouterr().out)
    assert (df["program"], df["path"], df["missing"]) == ("df", None, ["df"])
    assert df["remedy"] == "apt-get install coreutils"
    assert (asset["ok"], asset["program"]) == (True, None)
    # Without --strict it only tells.
    assert main(arguments) == Exit.OK
    capsys.readouterr()

    program = tmp_path / "df"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert main([*arguments, "--strict"]) == Exit.OK
    df, _ = json.loads(capsys.readouterr().out)
    assert (df["path"], df["ok"]) == (str(program), True)
    # Not from the package, so the version of the package says nothing of it.
    assert df["version"] is None


def test_check_knows_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = registry.load().get("df")
    assert tool is not None
    needing = tool.model_copy(
        update={"risk": tool.risk.model_copy(update={"capabilities": ("CAP_NET_RAW",)})}
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(programs, "_status", lambda: {"CapEff": 1 << 13})
    assert programs.inspect([needing])[0].capabilities == {"CAP_NET_RAW": True}
    monkeypatch.setattr(programs, "_status", lambda: {"CapEff": 1 << 12})
    assert programs.inspect([needing])[0].missing == ("CAP_NET_RAW",)
    # What is not ambient another user's programs do not get, whatever the executor itself has.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(programs, "_status", lambda: {"CapEff": 1 << 13, "CapAmb": 0})
    without = programs.inspect([needing])[0]
    assert without.missing == ("CAP_NET_RAW",)
    assert without.remedy is not None
    assert without.remedy.startswith("start the executor with CAP_NET_RAW in its ambient set")
    monkeypatch.setattr(programs, "_status", lambda: {"CapAmb": 1 << 13})
    assert programs.inspect([needing])[0].capabilities == {"CAP_NET_RAW": True}


def test_check_prints_a_table_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(programs, "_FOLDERS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["tools", "check", "df", "--strict"]) == Exit.FAILED
    captured = capsys.readouterr()
    assert "coreutils" in captured.out
    assert "df: df missing" in captured.err
    assert "0 of 1 tool can run here" in captured.err


def test_every_domain_has_a_page_with_every_tool() -> None:
    pages = tool_pages.pages()
    assert pages == tool_pages.pages()
    for domain, tools in registry.load().by_domain().items():
        if domain == "test":
            assert "tools-test.md" not in pages
            continue
        for tool in tools:
            assert f"\n## {tool.name}\n" in pages[f"tools-{domain}.md"]
            for name, shape in tool.parameters.items():
                assert tool_texts.meaning(shape).startswith(shape.description)
                assert f"| `{name}` |" in pages[f"tools-{domain}.md"]


def test_the_reference_shows_texts_letter_by_letter() -> None:
    """A pattern is full of what Markdown takes for links and emphasis."""
    table = MarkdownIt("commonmark").enable("table")
    for domain, tools in registry.load().by_domain().items():
        if domain == "test":
            continue
        read = table.parse(tool_pages.pages()[f"tools-{domain}.md"])
        shown = {_plain(token) for token in read if token.type == "inline"}
        for tool in tools:
            for parameter in tool.parameters.values():
                assert " ".join(tool_texts.meaning(parameter).split()) in shown, tool.name
            assert " ".join(tool.description.split()) in shown


def _plain(inline: Token) -> str:
    """What a reader sees of a line: no part of it may be markup."""
    return "".join(part.content for part in inline.children or ())
