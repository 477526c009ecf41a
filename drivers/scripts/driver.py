"""The `script` driver: commands and scripts of plans where the operator allows them, and scripts of
the library; here, over SSH, and on Windows over WinRM.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from drivers.command import CommandDriver
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.scripts import loader, permission
from drivers.scripts.task import Task, task_of
from drivers.step_connection import connection_of_step
from toolmeta.bind import MAX_ARGV_BYTES
from toolmeta.invocation import Invocation

DIGEST: Final = "script_sha256"


class ScriptDriver:
    """Nothing is started where the settings do not allow it."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Run it to its end; its output has the hash of the script."""
        context.not_acting()
        try:
            task = task_of(invocation)
        except ValueError as error:
            return fail(invocation, "invalid_parameters", str(error))
        fault = _fault(task)
        if fault is not None:
            return fail(invocation, "invalid_parameters", fault)
        where = await connection_of_step(invocation, context)
        if isinstance(where, Failure):
            return where
        refused = permission.refusal(invocation, context, where)
        if refused is not None:
            return refused
        if task.script is not None:
            context.evidence[DIGEST] = task.script.digest
        if where.kind == "powershell":
            from drivers.scripts import windows

            outcome = await windows.run(task, invocation, context, where.name)
        else:
            ended = await CommandDriver().run(loader.program_of(task, invocation), context)
            outcome = loader.told(ended, task)
        return _finished(outcome, task)


def _fault(task: Task) -> str | None:
    """Why this cannot be started anywhere."""
    if task.script is None and task.words[0].startswith("-"):
        return "argv: the first entry is the program, whose name begins with no dash"
    texts = (*task.words, *task.env, *task.env.values(), task.folder or "", task.stdin or "")
    if any("\x00" in text for text in texts):
        return "a word, a variable or the input holds a NUL character; remove it"
    if sum(len(text.encode()) + 1 for text in texts[:-1]) > MAX_ARGV_BYTES:
        return (
            f"words and variables have more than {MAX_ARGV_BYTES} bytes, which no program can be "
            "started with: give them as input"
        )
    return None


def _finished(outcome: Outcome, task: Task) -> Outcome:
    output = outcome.output
    if output is None:
        return outcome
    shown = output if task.own else _with_stdout(output)
    if task.script is not None:
        shown = {**shown, DIGEST: task.script.digest}
    return Success(shown) if isinstance(outcome, Success) else replace(outcome, output=shown)


def _with_stdout(output: dict[str, Any]) -> dict[str, Any]:
    """The lines of a plan's command under the name of their stream."""
    found = {name: value for name, value in output.items() if name not in ("lines", "count")}
    if "lines" in output:
        found["stdout"] = output["lines"]
        fields = found.get("truncated_fields")
        if isinstance(fields, dict) and "lines" in fields:
            renamed = {("stdout" if name == "lines" else name): at for name, at in fields.items()}
            found["truncated_fields"] = {key: at for key, at in renamed.items() if key != "count"}
    return found
