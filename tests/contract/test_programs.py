"""The real programs take the argv of the catalogue, and its parsers understand them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from toolmeta import parse, registry
from toolmeta.bind import bind, target_of
from toolmeta.invocation import Invocation
from toolmeta.model import Tool

#: Calls that read, on any Linux machine; each program runs for real where it is installed.
LIVE: list[tuple[str, dict[str, Any]]] = [
    ("df", {}),
    ("df", {"path": "/"}),
    ("du", {"path": "/etc/apt"}),
    ("ps", {"sort_by": "memory"}),
    ("ps", {"pids": [1]}),
    ("ps", {"name": "no-such-program"}),
    ("free", {}),
    ("uptime", {}),
    ("uname", {}),
    ("hostname", {}),
    ("id", {"user": "root"}),
    ("whoami", {}),
    ("ls", {"path": "/etc", "sort_by": "size"}),
    ("cat", {"path": "/etc/passwd"}),
    ("head", {"path": "/etc/passwd", "lines": 1}),
    ("tail", {"path": "/etc/passwd", "lines": 1}),
    ("grep", {"pattern": "^root:", "paths": "/etc/passwd"}),
    ("grep", {"pattern": "no such line", "paths": ["/etc/passwd"]}),
    ("find", {"path": "/etc", "name": "passwd*", "max_depth": 1}),
    ("sort", {"text": "10 b\n9 a\n", "numeric": True}),
    ("cut", {"path": "/etc/passwd", "delimiter": ":", "fields": "1,7"}),
    ("openssl", {"action": "version"}),
    ("ss", {"processes": False}),
    ("ip", {"device": "lo"}),
    ("argv", {"argv": ["echo", "--", "; id"]}),
]


@pytest.mark.parametrize(("name", "parameters"), LIVE)
def test_real_program_takes_the_argv_and_its_output_fits(
    name: str, parameters: dict[str, Any]
) -> None:
    tool, invocation = _bound(name, parameters)
    if shutil.which(invocation.argv[0]) is None:
        pytest.skip(f"{invocation.argv[0]} is not installed")
    output = _run(tool, invocation)
    Draft202012Validator(tool.output).validate(output)
    assert target_of(tool, parameters) is None


def test_names_with_any_character_survive_ls_and_find(tmp_path: Path) -> None:
    name = 'new\nline "quoted" \u00e9 \\ $(id) -x'
    (tmp_path / name).write_text("12345")
    listed = _run(*_bound("ls", {"path": str(tmp_path)}))
    assert [entry["name"] for entry in listed["entries"]] == [name]
    assert listed["total_bytes"] == 5
    found = _run(*_bound("find", {"path": str(tmp_path), "type": "file"}))
    assert [match["path"] for match in found["matches"]] == [str(tmp_path / name)]


def test_arguments_never_reach_a_shell(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    forms = ("; touch {}", "$(touch {})", "`touch {}`", "\ntouch {}", "| touch {}")
    for text in (form.format(canary) for form in forms):
        output = _run(*_bound("sort", {"text": text, "separator": ";"}))
        assert output["lines"] == sorted(text.split("\n"))
        _run(*_bound("argv", {"argv": ["echo", text]}))
    assert not canary.exists()


def _bound(name: str, parameters: dict[str, Any]) -> tuple[Tool, Invocation]:
    tool = registry.load().get(name)
    assert tool is not None
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return tool, invocation


def _run(tool: Tool, invocation: Invocation) -> dict[str, Any]:
    done = subprocess.run(
        invocation.argv,
        input=invocation.stdin or "",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **invocation.env},
    )
    silent = not done.stderr and done.returncode in tool.run.silent_codes
    assert silent or done.returncode in tool.run.success_codes, done.stderr
    return parse.parse(invocation.parser, done.stdout, done.returncode)
