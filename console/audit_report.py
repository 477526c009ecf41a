"""What `runstream audit` says to people."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from console import terminal
from console.chain_sources import Verified
from console.trail import Attempt, Entry, Trail
from reading.text import count, json_text, one_line, plain


def tell(found: Trail) -> None:
    """The trail of one execution, section by section."""
    terminal.out().print(Text(found.execution_id, "bold").append(f"  {plain(found.tenant)}", "dim"))
    _section("asked", [found.asked] if found.asked else [])
    _section("approvals", found.approvals)
    _section("decisions about authority", found.decisions)
    _section("control", found.control)
    if found.attempts:
        _line(Text("attempts", "bold"))
    for attempt in found.attempts:
        _attempt(attempt)
    _section("end", [found.ended] if found.ended else [])
    if found.chain is not None:
        _fact("chain", found.chain)


def _section(title: str, entries: list[Entry]) -> None:
    if not entries:
        return
    _line(Text(title, "bold"))
    for entry in entries:
        _line(_when(entry.at, entry.what).append(f"  event {entry.seq}", "dim"))
        for name, value in entry.facts.items():
            _fact(name.replace("_", " "), value)


def _attempt(attempt: Attempt) -> None:
    status = attempt.status
    head = _when(attempt.dispatched_at, f"{attempt.step} #{attempt.attempt}")
    head.append(f"  {plain(attempt.tool)}").append(f"  {status}", terminal.style(status))
    _line(head)
    facts = {
        "target": attempt.target, "executor": attempt.executor, "parameters": attempt.parameters,
        **{f"secret {name}": path for name, path in attempt.secrets.items()},
        **{name.replace("_", " "): value for name, value in attempt.more.items()},
        "started": attempt.started_at, "ended": attempt.ended_at, "changed": attempt.changed,
        "script sha256": attempt.script_sha256, "why": attempt.message,
    }  # fmt: skip
    for name, value in facts.items():
        if value not in (None, {}, ""):
            _fact(name, value)


def _when(at: str, what: str) -> Text:
    return Text().append(f"  {plain(at)}  ", "dim").append(plain(what))


def _fact(name: str, value: Any) -> None:
    text = value if isinstance(value, str) else json_text(value)
    _line(Text(f"      {plain(name)}  ", "dim").append(one_line(text, 2_000)))


def _line(text: Text) -> None:
    terminal.out().print(text, soft_wrap=True)


def tell_verified(result: Verified) -> None:
    """What one source came to; the findings first."""
    for one in result.findings:
        terminal.tell(f"{result.source}  {one.execution_id}  event {one.seq}  {one.kind}")
        terminal.say(f"  {one.message}", "red")
    if result.bad > len(result.findings):
        terminal.say(f"  and {result.bad - len(result.findings)} more", "red")
    if result.only is not None and not result.events:
        terminal.say(f"{result.source}: no events of it are here", "yellow")
        return
    looked = f"{count(result.executions, 'execution')}, {count(result.events, 'event')}"
    bad = f"{count(result.bad, 'finding')}" if result.bad else "every chain holds"
    terminal.say(f"{result.source}: {looked}: {bad}", "bold red" if result.bad else "green")
    if result.later:
        terminal.say(
            f"  of {count(result.later, 'execution')} the chain does not hold from event 1 on: "
            "what was before has expired, or had no chain",
            "yellow",
        )
    if result.open:
        terminal.say(
            f"  {count(result.open, 'execution')} without an end: they go on, or their last events "
            "were removed",
            "dim",
        )
    known = result.only
    if known is not None and known.chain is not None and not result.bad:
        held = f"events {known.holds_from} to {known.seq}"
        terminal.say(f"  {held}, chain {known.chain}", "dim")
