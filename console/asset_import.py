"""`runstream assets import`: show what a file would change, ask, and run it as ordinary plans."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from console import catalogue, endpoints, terminal
from console.exits import Exit, Failure
from console.options import HostsFormat, Json, Timeout, login
from reading.text import count, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authority.keys import PrivateKey
    from console.inventory_changes import Changes
    from console.inventory_model import LeftOut
    from runtime.settings import CommonSettings

#: Assets of which the difference is shown.
_MAX_SHOWN: Final = 200


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file, or - for stdin.")],
    form: Annotated[
        HostsFormat | None,
        typer.Option("--format", help="What it is; by its name and content if not given."),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            metavar="dev|staging|prod",
            help="Where its hosts belong, and the plan; dev if not given, for new ones.",
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose; `default` if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Timeout = 3_600.0,
    as_json: Json = False,
) -> None:
    """Add and change assets by a file of hosts; the differences are shown first.

    Ansible inventories (INI, YAML), ssh_config, and CSV with a header. It runs as plans of
    asset_create and asset_update: the policy, approvals and the audit are those of every plan.
    """
    from console import database, inventory_rows, signing
    from console.inventory_changes import changes_of, plans
    from console.inventory_files import read
    from console.inventory_model import BadFile
    from console.stack import environment_of
    from runtime.settings import CommonSettings, DatabaseSettings

    where = None if environment is None else environment_of(environment)
    _, found = read(file, form)
    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    whose = signing.tenant_of(key, tenant) or "default"
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        stored = inventory_rows.named(connection, whose, [host.hostname for host in found.hosts])
    try:
        changes = changes_of(found.hosts, stored, where, catalogue.load())
    except BadFile as error:
        raise Failure(f"{file}: {error}", Exit.USAGE) from None
    _show(changes)
    _say_left_out(found.left_out)
    told = _document(changes, found.left_out)
    if not changes.all or dry_run:
        _tell(told, changes, as_json, "nothing was changed" if dry_run else "")
        return
    if not yes:
        _ask(changes)
    code = Exit.OK
    for plan in plans(changes, where or "dev"):
        ended, ident = _run(settings, key, whose, plan, timeout)
        told["executions"].append(ident)
        code = code or ended
        if ended == Exit.REJECTED:
            break
    told["complete"] = code == Exit.OK
    _tell(told, changes, as_json, "" if code == Exit.OK else "not all was changed")
    raise typer.Exit(code)


def _run(
    settings: CommonSettings,
    key: PrivateKey | None,
    tenant: str,
    plan: dict[str, Any],
    limit: float,
) -> tuple[Exit, str]:
    """One plan to its end; says what went wrong."""
    from console import outcome
    from console.display import Display
    from console.eventlog import EventLog
    from console.follow import detachable, follow
    from console.request import Options, prepare
    from console.submission import produce
    from console.view import ExecutionView
    from runtime.clock import now
    from streams.payloads import Rejected

    prepared = prepare(
        plan, Options(tenant=tenant), login=login(), unix_ms=int(now() * 1000),
        random_bits=secrets.randbits(86), key=key,
    )  # fmt: skip
    view = ExecutionView(prepared.execution_id)
    waiting = f"{len(plan['plan']['steps'])} steps run as {prepared.execution_id}"
    terminal.say(waiting, "dim")
    with EventLog(settings, prepared.route) as log, detachable(prepared.execution_id):
        produce(settings, prepared, key)
        code = follow(log, view, Display(view, jsonl=False, quiet=True), timeout=limit)
    if view.ended is not None and isinstance(view.ended.data, Rejected):
        outcome.rejection(view.ended.data)
        return Exit.REJECTED, prepared.execution_id
    failed = [step for step in view.steps.values() if step.failed]
    for step in failed:
        terminal.say(plain(f"✗ {step.step}: {one_line(step.message, 300)}"), "red")
    if code != Exit.OK or failed:
        terminal.say(f"  details: runstream show {prepared.execution_id}", "dim")
    return (code or Exit.FAILED) if failed else code, prepared.execution_id


def _ask(changes: Changes) -> None:
    if not sys.stdin.isatty():
        message = "nothing was changed: there is nobody to ask"
        raise Failure(message, Exit.USAGE, "import with --yes")
    if not typer.confirm(f"write {count(len(changes.all), 'asset')}?", err=True):
        raise Failure("nothing was changed", Exit.FAILED)


def _show(changes: Changes) -> None:
    for change in changes.all[:_MAX_SHOWN]:
        new = change.tool == "asset_create"
        parts = [
            f"{name} {_brief(after)}" if new else f"{name} {_brief(before)} → {_brief(after)}"
            for name, (before, after) in change.fields.items()
        ]
        text = f"{'+' if new else '~'} {change.hostname}  {', '.join(parts)}"
        terminal.say(plain(text.rstrip()), "green" if new else "yellow")
    if len(changes.all) > _MAX_SHOWN:
        terminal.say(f"... {len(changes.all) - _MAX_SHOWN} more assets", "dim")


def _brief(value: Any) -> str:
    if isinstance(value, dict) and all(text == "" for text in value.values()):
        return one_line(" ".join(sorted(value)) or "none", 120)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, 120)


def _gathered(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """What was left out, each name and reason once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in left_out:
        first = {"name": one.name, "line": one.line, "why": one.why, "times": 0}
        found.setdefault((one.name, one.why), first)["times"] += 1
    return sorted(found.values(), key=lambda one: (one["line"], one["name"]))


def _say_left_out(left_out: Iterable[LeftOut]) -> None:
    gathered = _gathered(left_out)
    for one in gathered[:_MAX_SHOWN]:
        times = "" if one["times"] == 1 else f", {one['times']} times"
        place = f"line {one['line']}{times}: " if one["line"] else ""
        terminal.say(plain(f"left out: {place}{one_line(one['name'], 80)} {one['why']}"), "yellow")
    if len(gathered) > _MAX_SHOWN:
        terminal.say(f"... {len(gathered) - _MAX_SHOWN} more names are left out", "dim")


def _document(changes: Changes, left_out: Iterable[LeftOut]) -> dict[str, Any]:
    return {
        "new": [change.hostname for change in changes.new],
        "changed": {change.hostname: sorted(change.fields) for change in changes.changed},
        "unchanged": changes.unchanged,
        "left_out": _gathered(left_out),
        "executions": [],
        "complete": not changes.all,
    }


def _tell(told: dict[str, Any], changes: Changes, as_json: bool, more: str) -> None:
    if as_json:
        terminal.data(told)
        return
    parts = [f"{len(changes.new)} new", f"{len(changes.changed)} changed",
             f"{changes.unchanged} unchanged"]  # fmt: skip
    text = ", ".join(parts) + (f"; {more}" if more else "")
    terminal.say(text, "yellow" if more else "green")
