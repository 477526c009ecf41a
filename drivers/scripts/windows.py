"""Commands and scripts on Windows: over WinRM, by one constant script with everything bound.

A script runs in the PowerShell of the host, which reports errors and no exit code: 0, or 1 where it
wrote an error. A command is a process with its own exit code.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.powershell.driver import WinrmDriver
from drivers.scripts.task import Task
from drivers.values import jsonable
from toolmeta.invocation import Invocation
from toolmeta.parse import ParseError, parse

_SCRIPT: Final = """# runstream: script
param([string]$Text, [object[]]$Words, [hashtable]$Variables, [string]$Folder, [string]$InputText)
if ($Folder) { Set-Location -LiteralPath $Folder -ErrorAction Stop }
foreach ($name in @($Variables.Keys)) {
  [Environment]::SetEnvironmentVariable($name, [string]$Variables[$name])
}
$block = [ScriptBlock]::Create($Text)
if ($InputText) { $InputText -split "`r?`n" | & $block @Words } else { & $block @Words }
"""
_COMMAND: Final = """# runstream: command
param([string]$Program, [string]$Line, [hashtable]$Variables, [string]$Folder, [string]$InputText)
$start = New-Object System.Diagnostics.ProcessStartInfo
$start.FileName = $Program
$start.Arguments = $Line
$start.UseShellExecute = $false
$start.CreateNoWindow = $true
$start.RedirectStandardInput = $true
$start.RedirectStandardOutput = $true
$start.RedirectStandardError = $true
if ($Folder) { $start.WorkingDirectory = $Folder }
foreach ($name in @($Variables.Keys)) {
  $start.EnvironmentVariables[$name] = [string]$Variables[$name]
}
$process = [System.Diagnostics.Process]::Start($start)
try {
  $out = $process.StandardOutput.ReadToEndAsync()
  $err = $process.StandardError.ReadToEndAsync()
  if ($InputText) { $process.StandardInput.Write($InputText) }
  $process.StandardInput.Close()
  $process.WaitForExit()
  [pscustomobject]@{
    ExitCode = $process.ExitCode; Stdout = $out.Result; Stderr = $err.Result
  }
} finally {
  if (-not $process.HasExited) { $process.Kill() }
}
"""
#: What becomes of the objects that these write.
_CONSOLE: Final[dict[str, Any]] = {"shape": "console"}
_FIRST: Final[dict[str, Any]] = {"first": True}
#: These are run by cmd.exe, which reads their arguments once more, in a way of its own.
_BATCH: Final = (".bat", ".cmd")


async def run(task: Task, invocation: Invocation, context: RunContext, host: str) -> Outcome:
    """Run it on the host of the step, which is reached over WinRM."""
    fault = _fault(task)
    if fault is not None:
        return fail(invocation, "invalid_parameters", f"{host}: {fault}")
    given = {"Variables": task.env or None, "Folder": task.folder, "InputText": task.stdin}
    if task.script is not None:
        own: dict[str, Any] = {"Text": task.script.text, "Words": list(task.words) or None}
        text, shape = _SCRIPT, _CONSOLE
    else:
        program, *words = task.words
        own = {"Program": program, "Line": subprocess.list2cmdline(words)}
        text, shape = _COMMAND, _FIRST
    called = replace(
        invocation,
        driver="winrm",
        arguments={"script": text, "parameters": {**given, **own}, **shape},
    )
    outcome = await WinrmDriver().run(called, context)
    if isinstance(outcome, Failure) and outcome.output is None:
        return outcome
    return _concluded(outcome, task, invocation, host)


def _fault(task: Task) -> str | None:
    if task.script is None:
        program = task.words[0].lower().rstrip(" .")
        return (
            f"{task.words[0]} is a batch file, whose arguments cmd.exe reads in a way of its own: "
            "run it from a script"
            if program.endswith(_BATCH)
            else None
        )
    if task.script.interpreter != "pwsh":
        return (
            f"it is a Windows host, which has no {task.script.interpreter} here: give interpreter "
            "pwsh, which is its own PowerShell"
        )
    return None


def _concluded(outcome: Outcome, task: Task, invocation: Invocation, host: str) -> Outcome:
    """The outcome by the exit codes and the parser of the step."""
    found = outcome.output or {}
    code = found.get("exit_code")
    kept = {name: found[name] for name in ("truncated", "objects") if found.get(name)}
    output: dict[str, Any] = {**kept, "exit_code": code, "stderr": _lines(found.get("stderr"))}
    written = str(found.get("stdout") or "")
    try:
        parsed = parse(
            task.parser, written, code if isinstance(code, int) else 1, datetime.now(UTC)
        )
        output.update(jsonable(parsed))
    except ParseError as error:
        if isinstance(outcome, Success):
            return fail(invocation, "output_unparsable", str(error), output)
    if isinstance(outcome, Failure):
        return replace(outcome, output=output)
    if code not in task.success_codes:
        said = "".join(f": {line}" for line in output["stderr"][-1:])
        message = f"{host}: {task.called} ended with exit code {code}{said}"
        return fail(invocation, "exit_status", message, output)
    return Success(output)


def _lines(text: Any) -> list[str]:
    return str(text or "").splitlines()[:1_000]
