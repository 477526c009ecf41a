"""How an execution ended: for people with the remedies, for programs as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from console import terminal
from console.streams import lost, tail
from console.view import ExecutionView, StepView
from reading.sentences import ending
from reading.text import brief, count, one_line, plain
from streams.payloads import Ended, Rejected
from streams.problems import Problem

_TAIL_LINES = 8
#: Columns that a message needs beside the field that it is about.
_MESSAGE_COLUMNS = 32


def document(view: ExecutionView) -> dict[str, Any]:
    """The result as one JSON document."""
    data = view.ended.data if view.ended is not None else None
    result: dict[str, Any] = {
        "execution_id": view.execution_id,
        "status": view.status,
        "tenant": view.tenant,
        "name": view.name,
        "elapsed_seconds": data.elapsed_seconds if isinstance(data, Ended) else None,
        "reason": data.reason if isinstance(data, Ended | Rejected) else None,
        "compensations": data.compensations if isinstance(data, Ended) else None,
        "steps": [
            {
                "step": step.step,
                "tool": step.tool,
                "status": step.status,
                "attempt": step.attempt,
                "duration_seconds": step.seconds,
                "output": step.output,
                "error": {"class": step.error_class, "message": step.message}
                if step.error_class
                else None,
            }
            for step in view.steps.values()
        ],
    }
    if isinstance(data, Rejected):
        result["message"] = data.message
        result["problems"] = [
            {"field": problem.field, "message": problem.message} for problem in data.problems
        ]
        result["conflicts_with"] = data.conflicts_with
    return result


def tell(view: ExecutionView, *, live: bool) -> None:
    """Say what went wrong, where, and what can be done; a success needs one line."""
    if view.ended is None:
        return
    data = view.ended.data
    if isinstance(data, Rejected):
        rejection(data)
    elif isinstance(data, Ended):
        for step in view.steps.values():
            if step.failed:
                _print_step(step)
        if live:
            words = f"{view.status.replace('_', ' ')} {ending(data)}"
            terminal.say(words, terminal.style(view.status))
        if view.status in ("failed", "partial", "timeout"):
            terminal.say(f"  details: runstream show {view.execution_id}", "dim")
            terminal.say(f"  again from what failed: runstream rerun {view.execution_id}", "dim")
    if not sys.stdout.isatty():
        terminal.tell(f"{view.execution_id} {view.status}")


def rejection(data: Rejected) -> None:
    """Why nothing was run."""
    problems(data.problems, data.message)
    if data.conflicts_with:
        first = data.conflicts_with
        terminal.say(f"  the key belongs to {first}: runstream show {first}", "dim")


def problems(found: Sequence[Problem], message: str) -> None:
    """What is wrong with a plan: each field whole, then the remedy, beside it or below."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    why = count(len(found), "problem") if found else message
    terminal.say(f"rejected, nothing was run: {why}", "bold red")
    if not found:
        return
    err = terminal.err()
    fields = [plain(problem.field or "-") for problem in found]
    beside = max(map(len, fields)) + _MESSAGE_COLUMNS <= err.width
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for field, problem in zip(fields, found, strict=True):
        told = Text(plain(problem.message), overflow="fold")
        if beside:
            table.add_row(Text(f"  {field}", style="bold"), told)
        else:
            err.print(Padding(Text(field, style="bold", overflow="fold"), (0, 0, 0, 2)))
            err.print(Padding(told, (0, 0, 0, 6)))
    if beside:
        err.print(table)


def _print_step(step: StepView) -> None:
    """A step that went wrong: why, and what is kept of its streams and output."""
    kind = f" [{step.error_class}]" if step.error_class else ""
    terminal.say(
        f"✗ {step.step} ({step.tool}) {step.status.replace('_', ' ')} "
        f"after {count(step.attempt, 'attempt')}: {one_line(step.message, 500)}{kind}",
        "red",
    )
    if step.output is not None:
        terminal.say(f"    output: {brief(step.output, 400)}", "dim")
    wrote = step.stderr if step.stderr is not None and step.stderr.bytes else step.stdout
    if wrote is None:
        return
    for line in tail(wrote).splitlines()[-_TAIL_LINES:]:
        terminal.say(f"    {one_line(line)}", "dim")
    if wrote.lost_bytes:
        terminal.say(f"    {lost(wrote)}", "yellow")
