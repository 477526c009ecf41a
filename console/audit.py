"""`runstream audit`: what an execution did for whom, and whether its log is what was written."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import ExecutionId, Json

if TYPE_CHECKING:
    from console.chain_check import Anchor, Rules
    from console.chain_sources import Verified


class Source(StrEnum):
    """Where events are read."""

    topic = "topic"
    postgres = "postgres"


_Ident = Annotated[str | None, typer.Argument(metavar="[ID]", help="One execution.")]
_All = Annotated[bool, typer.Option("--all", help="Every execution.")]
_From = Annotated[Source | None, typer.Option("--source", help="Only there; both if not given.")]
_Until = Annotated[
    str | None,
    typer.Option(
        "--unchained-until",
        metavar="TIME",
        help="Events of before (RFC 3339) may have no chain: a version without wrote them.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Who did what, and whether the log is whole.")
    group.command()(show)
    group.command()(verify)
    app.add_typer(group, name="audit")


def show(execution_id: ExecutionId, as_json: Json = False) -> None:
    """Show who asked, who approved, what ran where with which secrets, and what changed."""
    from console import audit_report, chain_sources, database
    from console.trail import trail
    from runtime.settings import DatabaseSettings

    ident = options.execution_id(execution_id)
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        found = trail(ident, chain_sources.stored_events(connection, ident))
    if found.tenant is None:
        raise Failure(
            f"execution {ident} has no events in the database",
            Exit.FAILED,
            f"it may be on its way (is a sink running?); live: runstream watch {ident}",
        )
    if as_json:
        terminal.data(asdict(found))
    else:
        audit_report.tell(found)


def verify(
    execution_id: _Ident = None,
    everything: _All = False,
    source: _From = None,
    unchained_until: _Until = None,
    as_json: Json = False,
) -> None:
    """Compute the chains of events anew: names the first event that is not as it was written.

    Exit code 1 where one is not.
    """
    from console.chain_check import Rules
    from streams.timestamps import unix

    if (execution_id is None) != everything:
        raise Failure("name one execution, or --all", Exit.USAGE, "runstream audit verify --all")
    try:
        until = 0.0 if unchained_until is None else unix(unchained_until)
    except ValueError:
        raise Failure(
            f"--unchained-until: {unchained_until!r} is no time", Exit.USAGE, "2026-11-20T07:00:00Z"
        ) from None
    ident = None if execution_id is None else options.execution_id(execution_id)
    results = _verified(ident, source, Rules(unchained_until=until, anchor=_anchor()))
    if as_json:
        terminal.data([_document(one) for one in results])
    else:
        from console import audit_report

        for one in results:
            audit_report.tell_verified(one)
    if any(one.bad for one in results):
        raise typer.Exit(Exit.FAILED)


def _anchor() -> Anchor | None:
    """Who knows the router's signature: the trusted keys, where there are such."""
    from authority.keys import KeyFault
    from console.anchors import anchor_of
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    file = settings.trusted_keys
    if file is None:
        folder = endpoints.local_keys(settings.bootstrap_servers)
        file = None if folder is None else str(folder.trusted)
    if file is None:
        terminal.say("no trusted keys are known, so the ends are not checked for signatures", "dim")
        return None
    try:
        return anchor_of(Path(file))
    except KeyFault as fault:
        raise Failure(str(fault), Exit.FAILED) from None


def _verified(ident: str | None, source: Source | None, rules: Rules) -> list[Verified]:
    from console import chain_sources, database
    from runtime.settings import CommonSettings, DatabaseSettings

    def tell(text: str) -> None:
        terminal.say(text, "dim")

    results = []
    if source is not Source.postgres:
        settings = endpoints.load(CommonSettings)
        if ident is None:
            progress = chain_sources.Progress(tell)
            results.append(chain_sources.verify_topic(settings, rules, progress))
        else:
            results.append(chain_sources.verify_one_in_topic(settings, ident, rules))
    if source is not Source.topic:
        with database.reading(endpoints.load(DatabaseSettings)) as connection:
            progress = chain_sources.Progress(tell)
            results.append(chain_sources.verify_tables(connection, ident, rules, progress))
    if ident is not None:
        if not any(one.events for one in results):
            raise Failure(f"no events of execution {ident} were found", Exit.FAILED)
        chain_sources.compare(results)
    return results


def _document(result: Verified) -> dict[str, Any]:
    document = {
        "source": result.source,
        "executions": result.executions,
        "events": result.events,
        "open": result.open,
        "holds_later": result.later,
        "bad": result.bad,
        "findings": [one._asdict() for one in result.findings],
    }
    known = result.only
    if known is not None:
        document |= {"seq": known.seq, "chain": known.chain, "holds_from": known.holds_from}
    return document
