"""Commands and scripts of plans, run by their driver on this machine: allowed, bound, named."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jsonschema import Draft202012Validator

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta import registry, scripts
from toolmeta.bind import bind
from toolmeta.check import check
from toolmeta.invocation import Invocation

ALLOWED = {"allow_commands": "local", "allow_scripts": "local"}
LIBRARY = """
name: greet
domain: automation
platform: linux
kind: own
description: Greets somebody in one line.
parameters:
  name: {type: string, required: true, max_length: 40, description: To whom.}
  token: {type: string, secret: true, description: What opens it.}
run:
  driver: script
  script:
    interpreter: bash
    text: |
      cat >&2
      printf '"%s %s"' "$1" "$TOKEN"
      exit 3
  argv: ["{name}"]
  stdin: "typed {name}"
  env: {TOKEN: "{token}"}
  parser: json
  success_codes: [0, 3]
output: {type: object, required: [exit_code], properties: {exit_code: {type: integer}}}
risk: {effect: modify, idempotent: true, retry_safe: false}
example: {parameters: {name: Ada}, argv: [Ada], output: {exit_code: 0}}
"""
HOSTILE = ["-c", "--", "-", "$(id)", "`id`", "a\nb", "; id", "'\"\\", "", "é\u2028", "*", "~"]
SHOW = {
    "sh": 'for one in "$@"; do printf "%s\\0" "$one"; done',
    "bash": 'printf "%s\\0" "$@"',
    "python3": 'import sys\nfor one in sys.argv[1:]: sys.stdout.write(one + "\\0")',
}


def attempt(tool: str, parameters: dict[str, Any], **changed: Any) -> tuple[Outcome, Run]:
    definition = registry.load().get(tool)
    assert definition is not None
    assert check(definition, parameters, references_allowed=False) == []
    bound = bind(definition, parameters)
    assert isinstance(bound, Invocation), bound

    async def inside() -> tuple[Outcome, Run]:
        resources = Resources(settings(**{**ALLOWED, **changed}))
        try:
            run = Run(resources, bound)
            return await run.outcome(60), run
        finally:
            await resources.close()

    outcome, run = asyncio.run(inside())
    if isinstance(outcome, Success):
        Draft202012Validator(definition.output).validate(outcome.output)
    return outcome, run


def output(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Success), outcome
    return outcome.output


def failure(outcome: Outcome, error_class: str) -> Failure:
    assert isinstance(outcome, Failure), outcome
    assert outcome.error_class == error_class, outcome
    return outcome


@pytest.mark.parametrize(
    ("tool", "parameters", "setting"),
    [
        ("command", {"argv": ["touch", "{}"]}, "RUNSTREAM_ALLOW_COMMANDS"),
        ("script", {"script": "touch '{}'"}, "RUNSTREAM_ALLOW_SCRIPTS"),
    ],
)
@pytest.mark.parametrize("places", ["", "*", "web-01", "127.0.0.1"])
def test_nothing_runs_where_the_operator_has_not_allowed_it(
    tmp_path: Path, tool: str, parameters: dict[str, Any], setting: str, places: str
) -> None:
    canary = tmp_path / "canary"
    given = {
        name: [word.format(canary) for word in value]
        if isinstance(value, list)
        else value.format(canary)
        for name, value in parameters.items()
    }
    outcome, _ = attempt(tool, given, allow_commands=places, allow_scripts=places)
    told = failure(outcome, "capability_missing")
    assert setting in told.message and "local" in told.message and told.message.count("\n") == 0
    assert not told.transient
    assert not canary.exists()


@pytest.mark.parametrize("tool", ["command", "script"])
def test_one_setting_does_not_allow_the_other(tool: str) -> None:
    other = {"command": "allow_scripts", "script": "allow_commands"}[tool]
    parameters: dict[str, Any] = {"argv": ["id"]} if tool == "command" else {"script": "id"}
    outcome, _ = attempt(
        tool, parameters, **{"allow_commands": "", "allow_scripts": "", other: "local"}
    )
    failure(outcome, "capability_missing")


@pytest.mark.parametrize("interpreter", SHOW)
def test_arguments_arrive_as_they_are(interpreter: str) -> None:
    if shutil.which(interpreter) is None:
        pytest.skip(f"no {interpreter}")
    parameters = {"script": SHOW[interpreter], "interpreter": interpreter, "arguments": HOSTILE}
    outcome, run = attempt("script", parameters)
    assert output(outcome)["exit_code"] == 0
    assert run.output.stdout.decode() == "".join(f"{word}\0" for word in HOSTILE)


def test_words_of_a_command_arrive_as_they_are(tmp_path: Path) -> None:
    for folder in ({}, {"cwd": "/"}):
        outcome, run = attempt("command", {"argv": ["printf", "%s\\0", *HOSTILE], **folder})
        assert output(outcome)["stderr"] == []
        assert run.output.stdout.decode() == "".join(f"{word}\0" for word in HOSTILE)


@pytest.mark.parametrize("interpreter", SHOW)
def test_the_script_is_no_argument_and_leaves_no_file(interpreter: str) -> None:
    shown = {
        "sh": "tr '\\0' ' ' < /proc/$$/cmdline; echo; ls \"$TMPDIR\"; true mark-of-the-text",
        "python3": "import os; print(open('/proc/self/cmdline').read().replace(chr(0), ' '));"
        "print(*os.listdir(os.environ['TMPDIR'])) # mark-of-the-text",
    }
    text = shown.get(interpreter, shown["sh"])
    outcome, _ = attempt("script", {"script": text, "interpreter": interpreter})
    lines = output(outcome)["stdout"]
    assert lines[0].split()[-1] == "/dev/fd/3" and "mark-of-the-text" not in lines[0]
    assert lines[1:] in ([], [""])


def test_what_a_script_reads_is_its_input_and_not_its_text() -> None:
    text = "cat; echo end"
    outcome, _ = attempt("script", {"script": text})
    assert output(outcome)["stdout"] == ["end"]
    outcome, _ = attempt("script", {"script": text, "input": "a\n\u00e9"})
    assert output(outcome)["stdout"] == ["a", "\u00e9end"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", " # é"])
def test_the_whole_text_runs_whatever_it_ends_with(end: str) -> None:
    body = "true 0123456789\n" * 2_500 + "echo last" + end
    outcome, _ = attempt("script", {"script": body, "input": "x" * 60_000})
    assert output(outcome)["stdout"] == ["last"]


def test_the_output_names_the_script_by_its_hash() -> None:
    outcome, _ = attempt("script", {"script": "echo a; echo b >&2"})
    found = output(outcome)
    assert found == {
        "exit_code": 0, "stdout": ["a"], "stderr": ["b"],
        "script_sha256": scripts.digest("sh", "echo a; echo b >&2"),
    }  # fmt: skip
    outcome, _ = attempt("script", {"script": "exit 3"})
    told = failure(outcome, "exit_status")
    assert (told.output or {})["script_sha256"] == scripts.digest("sh", "exit 3")
    assert told.message == "the sh script ended with exit code 3"
    assert scripts.digest("sh", "exit 3") != scripts.digest("bash", "exit 3")


def test_output_is_parsed_where_that_is_asked_for() -> None:
    text = """printf '{"a": [1, 2]}'"""
    outcome, _ = attempt("script", {"script": text, "parse": "json"})
    assert output(outcome)["data"] == {"a": [1, 2]}
    outcome, _ = attempt("script", {"script": "echo no", "parse": "json"})
    assert (failure(outcome, "output_unparsable").output or {})["text"] == "no\n"
    outcome, _ = attempt("command", {"argv": ["echo", "A=1"], "parse": "key_value"})
    assert output(outcome)["values"] == {"A": "1"}


def test_expected_exit_codes_are_no_failure() -> None:
    given = {"script": "exit 127", "exit_codes": [0, 127]}
    assert output(attempt("script", given)[0])["exit_code"] == 127
    told = failure(attempt("script", {"script": "no-such-program-here"})[0], "exit_status")
    assert (told.output or {})["exit_code"] == 127 and "no-such-program-here" in told.message
    told = failure(attempt("script", {"script": "kill -9 $$"})[0], "exit_status")
    assert told.message == "the sh script was ended by signal 9"
    lone: dict[str, Any] = {"argv": ["sh", "-c", "exit 4"], "exit_codes": 4}
    assert output(attempt("command", lone)[0])["exit_code"] == 4


@pytest.mark.parametrize("codes", [[0], [0, 125, 127]])
def test_a_missing_interpreter_is_no_exit_code(
    monkeypatch: pytest.MonkeyPatch, codes: list[int]
) -> None:
    if shutil.which("pwsh") is not None:
        pytest.skip("pwsh is installed")
    given = {"script": "exit 0", "interpreter": "pwsh", "exit_codes": codes}
    told = failure(attempt("script", given)[0], "program_missing")
    assert told.message == "the pwsh script was not started: pwsh is not installed there"
    told = failure(
        attempt("command", {"argv": ["no-such-program"], "cwd": "/", "exit_codes": codes})[0],
        "program_missing",
    )
    assert told.message == "no-such-program was not started: no-such-program is not installed there"
    failure(attempt("command", {"argv": ["no-such-program"]})[0], "program_missing")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = f"{tmp_path}/it's $(id)\u00e9"
    told = failure(attempt("script", {"script": "pwd", "cwd": folder})[0], "not_found")
    assert folder in told.message and "was not started" in told.message
    assert output(attempt("script", {"script": "pwd", "cwd": "/usr"})[0])["stdout"] == ["/usr"]
    assert output(attempt("command", {"argv": ["pwd"], "cwd": "/usr"})[0])["stdout"] == ["/usr"]


def test_variables_are_set_as_they_are() -> None:
    given = {"script": 'printf "%s" "$A_VALUE"', "env": {"A_VALUE": "a b\n$(id)"}}
    assert output(attempt("script", given)[0])["stdout"] == ["a b", "$(id)"]


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "ld_preload", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "PATH", "IFS", "PS4",
        "PYTHONPATH", "PERL5OPT", "NODE_OPTIONS", "GCONV_PATH", "TMPDIR", "RUNSTREAM_ATTEMPT",
        "RUNSTREAM_SCRIPT_WORDS", "BASH_FUNC_ls%%", "A B", "1A", "A=B", "DYLD_INSERT_LIBRARIES",
        "_JAVA_OPTIONS", "DOTNET_STARTUP_HOOKS", "rs_n", "ComSpec",
    ],
)  # fmt: skip
def test_variables_that_bring_other_code_are_refused(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    given = {"script": f"touch '{canary}'", "env": {name: "x"}}
    told = failure(attempt("script", given)[0], "invalid_parameters")
    assert name in told.message
    assert not canary.exists()


def test_other_variables_are_taken() -> None:
    names = ["HOME", "LANG", "LDAP_URL", "PERIOD", "NODE", "ENVIRONMENT", "PATHS", "TZ"]
    given = {"argv": ["env"], "env": dict.fromkeys(names, "x")}
    lines = output(attempt("command", given)[0])["stdout"]
    assert {f"{name}=x" for name in names} <= set(lines)


@pytest.fixture
def fake_pwsh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fake pwsh: it writes its arguments, the words that it is given, and the script."""
    if shutil.which("pwsh") is not None:
        pytest.skip("pwsh is installed")
    # Not below the folder of the test, which the users of steps may not enter.
    folder = Path(tempfile.mkdtemp(prefix="fake-pwsh-"))
    folder.chmod(0o755)
    (folder / "pwsh").write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@"; echo "$RUNSTREAM_SCRIPT_WORDS"; cat /dev/fd/3\n'
    )
    (folder / "pwsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    yield
    shutil.rmtree(folder)


@pytest.mark.usefixtures("fake_pwsh")
def test_powershell_on_linux_gets_words_as_data_beside_one_constant_text() -> None:
    """PowerShell would read words on its command line as code and as options."""
    seen = []
    for word in ("-Verbose", "$(id)", "'; id #"):
        given = {"script": "$args[0] # text", "interpreter": "pwsh", "arguments": [word, "b"]}
        lines = output(attempt("script", given)[0])["stdout"]
        assert json.loads(lines[-2]) == [word, "b"]
        assert lines[-1] == "$args[0] # text"
        seen.append(lines[:-2])
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][:4] == ["-NoLogo", "-NoProfile", "-NonInteractive", "-Command"]


@pytest.mark.root_only
def test_nothing_outlives_a_script_of_an_executor_that_is_root() -> None:
    text = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    (pid,) = output(attempt("script", {"script": text})[0])["stdout"]
    # Where nobody awaits orphans, one that was ended stays in the list of processes.
    left = psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status()
    assert left in (False, psutil.STATUS_ZOMBIE)


def test_a_script_of_the_library_needs_no_permission(tmp_path: Path) -> None:
    tool = registry.read(LIBRARY, "automation", "greet")
    bound = bind(tool, {"name": "$(id)", "token": "t"})
    assert isinstance(bound, Invocation), bound

    async def inside() -> Outcome:
        resources = Resources(settings())
        try:
            return await Run(resources, bound).outcome(60)
        finally:
            await resources.close()

    found = output(asyncio.run(inside()))
    named = scripts.digest("bash", tool.run.script.text or "") if tool.run.script else ""
    assert found == {
        "exit_code": 3, "data": "$(id) t", "stderr": ["typed $(id)"], "script_sha256": named,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "parameters", "field"),
    [
        ("script", {"script": "a\0b"}, "script"),
        ("script", {"script": "x" * 1_048_576}, "script"),
        ("script", {"script": "x", "arguments": ["a\0"]}, "arguments[0]"),
        ("script", {"script": "x", "library": "name"}, "library"),
        ("script", {"script": "x", "interpreter": "perl"}, "interpreter"),
        ("script", {"script": "x", "cwd": "../etc"}, "cwd"),
        ("script", {"script": "rm {{ steps.a.output.text }}"}, "script"),
        ("script", {"script": "x", "interpreter": "{{ steps.a.output.text }}"}, "interpreter"),
        ("command", {"argv": []}, "argv"),
        ("command", {"argv": "ls -l"}, "argv"),
        ("command", {"argv": ["ls"], "exit_codes": [-1]}, "exit_codes[0]"),
    ],
)
def test_what_cannot_be_is_refused_at_admission(
    tool: str, parameters: dict[str, Any], field: str
) -> None:
    definition = registry.load().get(tool)
    assert definition is not None
    problems = check(definition, parameters, references_allowed=True)
    assert [problem.field for problem in problems] == [f"parameters.{field}"]
    if len(str(parameters)) > 1_000_000:
        assert problems[0].message == "is too long: 1048576 characters, at most 65536 are allowed"


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("command", {"argv": ["-c", "id"]}),
        ("script", {"script": " \n"}),
        ("script", {"script": "true", "arguments": ["x" * 30_000] * 5}),
    ],
)
def test_what_no_program_can_be_started_with_is_refused(
    tool: str, parameters: dict[str, Any]
) -> None:
    failure(attempt(tool, parameters)[0], "invalid_parameters")
