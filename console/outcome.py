"""How an execution ended, told once: for people with the remedies, for programs as JSON."""

from __future__ import annotations

import sys
from typing import Any

from console import terminal
from console.lines import ending
from console.text import count, one_line, plain
from console.view import ExecutionView

_TAIL_LINES = 8


def document(view: ExecutionView) -> dict[str, Any]:
    """The result as one JSON document."""
    ended = view.ended
    data = ended.data if ended is not None else {}
    result: dict[str, Any] = {
        "execution_id": view.execution_id,
        "status": view.status,
        "tenant": view.tenant,
        "name": view.name,
        "elapsed_seconds": data.get("elapsed_seconds"),
        "reason": data.get("reason"),
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
    if view.status == "rejected":
        result["message"] = data.get("message")
        result["problems"] = data.get("problems", [])
        result["conflicts_with"] = data.get("conflicts_with")
    return result


def tell(view: ExecutionView, *, live: bool) -> None:
    """Say what went wrong, where, and what can be done; a success needs one line."""
    ended = view.ended
    if ended is None:
        return
    if view.status == "rejected":
        problems(ended.data)
    else:
        _troubles(view)
        if live:
            words = f"{view.status.replace('_', ' ')} {ending(ended.data)}"
            terminal.say(words, terminal.style(view.status))
        if view.status in ("failed", "partial", "timeout"):
            terminal.say(f"  details: runstream show {view.execution_id}", "dim")
            terminal.say(f"  again from what failed: runstream rerun {view.execution_id}", "dim")
    if not sys.stdout.isatty():
        print(f"{view.execution_id} {view.status}")


def problems(data: dict[str, Any]) -> None:
    """A rejection, one line per problem: the field, then the remedy."""
    from rich.table import Table
    from rich.text import Text

    found = data.get("problems", [])
    why = count(len(found), "problem") if found else data.get("message")
    terminal.say(f"rejected, nothing was run: {why}", "bold red")
    table = Table.grid(padding=(0, 2))
    for problem in found:
        table.add_row(
            Text(f"  {plain(problem.get('field') or '-')}", style="bold"),
            Text(plain(problem.get("message", ""))),
        )
    if found:
        terminal.err().print(table)
    if data.get("conflicts_with"):
        first = data["conflicts_with"]
        terminal.say(f"  the key belongs to {first}: runstream show {first}", "dim")


def _troubles(view: ExecutionView) -> None:
    for step in view.steps.values():
        if step.status not in ("failed", "timed_out", "lost", "needs_attention"):
            continue
        kind = f" [{step.error_class}]" if step.error_class else ""
        terminal.say(
            f"✗ {step.step} ({step.tool}) {step.status.replace('_', ' ')} "
            f"after {step.attempt} attempt{'s' if step.attempt != 1 else ''}: "
            f"{one_line(step.message, 500)}{kind}",
            "red",
        )
        for line in plain(step.stderr_tail).rstrip().splitlines()[-_TAIL_LINES:]:
            terminal.say(f"    {one_line(line)}", "dim")
