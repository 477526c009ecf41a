"""What is known of the calls of a plan before the run, for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from console import terminal
from reading.text import count, json_text, one_line, plain

if TYPE_CHECKING:
    from console.missing import Missing
    from streams.explained import Explained, ExplainedCall

#: Characters of a call or a value that are shown.
_SHOWN = 160


def calls(data: Explained, here: Missing | None) -> None:
    """Each call: its right and assets, the rule, and what would be called, secrets masked."""
    from rich.text import Text

    out = terminal.out()
    out.print()
    for call in data.calls:
        name = call.step or call.field
        where = ", ".join(plain(asset or "(only the run will tell)") for asset in call.assets)
        line = Text().append(f"{plain(name)}", "bold").append(f"  {call.tool} ({call.action})")
        line.append(f" on {where}  ").append(*_verdict(call))
        out.print(line)
        for text in _details(call):
            out.print(Text(f"    {plain(text)}", "dim"), soft_wrap=True)
        if here is not None and call.tool in here.programs:
            out.print(Text(f"    not here: {plain(here.programs[call.tool])}", "yellow"))
    if data.calls_left_out:
        out.print(Text(f"and {count(data.calls_left_out, 'more call')}", "dim"))
    for path in here.secrets if here is not None else ():
        out.print(Text(f"secret {plain(path)} is not in this environment", "yellow"))


def _verdict(call: ExplainedCall) -> tuple[str, str]:
    needs = ", needs an approval" if call.approval else ""
    if call.allowed:
        return f"allowed by {call.rule}{needs}", "green"
    return f"denied by {call.rule}", "red"


def _details(call: ExplainedCall) -> list[str]:
    found = []
    if call.invocation is not None:
        found.append(f"calls: {_called(call.invocation)}")
    if call.templates:
        found.append(f"filled during the run: {', '.join(call.templates)}")
    if call.become:
        found.append(f"as {call.become} on the host, by sudo")
    if call.connection:
        found.append(f"connection: {json_text(call.connection)}")
    if call.secrets:
        found.append(f"secrets: {', '.join(call.secrets)}")
    if call.locks:
        found.append("changes its assets: one execution at a time")
    return found


def _called(invocation: dict[str, object]) -> str:
    argv = invocation.get("argv")
    if isinstance(argv, list):
        return one_line(shlex.join(str(part) for part in argv), _SHOWN)
    rest = {name: value for name, value in invocation.items() if name != "driver"}
    return one_line(f"{invocation.get('driver')} {rest}", _SHOWN)
