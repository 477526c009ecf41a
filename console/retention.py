"""`runstream retention`: how long Postgres keeps what, and deleting what is older."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from console import endpoints, terminal
from console.exits import Exit, Failure
from console.options import Json
from reading.text import count

if TYPE_CHECKING:
    from runtime.retention import Rule
    from runtime.settings import SinkSettings
    from sinks.retention import Deleted

_PROGRESS_SECONDS: Final = 2.0


class Rows(StrEnum):
    """What can be deleted."""

    output = "output"
    attempts = "attempts"
    executions = "executions"
    events = "events"
    dead_letters = "dead_letters"


#: By an age of its own, a run leaves the log and the dead letters alone unless they are named.
_BY_AGE: Final = (Rows.output, Rows.attempts, Rows.executions)

_Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Only rows of this tenant.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="How long Postgres keeps what.")
    group.command()(show)
    group.command()(run)
    app.add_typer(group, name="retention")


def show(tenant: _Tenant = None, as_json: Json = False) -> None:
    """Show the policy of this environment (RUNSTREAM_RETENTION), and the last runs."""
    from console import database
    from runtime.retention import rules
    from runtime.settings import SinkSettings

    settings = endpoints.load(SinkSettings)
    found = [_rule(rule) for rule in rules(settings.retention, datetime.now(UTC), tenant)]
    with database.reading(settings) as connection:
        runs = connection.execute(
            "SELECT * FROM execution.retention_runs "
            "WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s OR tenant IS NULL "
            "ORDER BY ran_at DESC LIMIT 10",
            {"tenant": tenant},
        ).fetchall()
    if as_json:
        terminal.data({"rules": found, "runs": runs})
        return
    if not found:
        terminal.say("everything is kept: RUNSTREAM_RETENTION names no age (docs/retention.md)")
    for rule in found:
        of = _whose(rule["class"], rule["tenant"])
        terminal.tell(f"{rule['class']}{of}: what ended before {rule['before']} goes")
    for row in runs:
        end = "" if row["finished"] else ", not finished"
        terminal.tell(
            f"{row['ran_at']:%Y-%m-%dT%H:%M:%SZ}  {row['class']}"
            f"{_whose(row['class'], row['tenant'])}: "
            f"{count(row['deleted_rows'], 'row')}, {_size(row['bytes'])} deleted{end}"
        )


def run(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="WHEN", help="What ended before: 2026-08-01 (UTC)."),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="What ended so long ago: 90d.")
    ] = None,
    only: Annotated[
        list[Rows] | None, typer.Option("--only", help="Only these rows; may be repeated.")
    ] = None,
    tenant: _Tenant = None,
    as_json: Json = False,
) -> None:
    """Delete what the policy says, or what is older than an age; executions that ended only.

    With --before or --older-than: output, attempts and executions, unless --only names others. The
    log (events) is kept as long as RUNSTREAM_RETENTION says, in any case. Safe to stop and repeat.
    """
    from runtime.settings import SinkSettings

    settings = endpoints.load(SinkSettings)
    wanted = _wanted(settings, before, older_than, only, tenant)
    if not wanted:
        if as_json:
            terminal.data([])
        else:
            terminal.say("nothing to do: RUNSTREAM_RETENTION names no age for these rows")
        return
    done = _run(settings, wanted, dry_run)
    if as_json:
        terminal.data(
            [
                {**_rule(one.rule), "rows": one.rows, "bytes": one.bytes, "finished": one.finished}
                for one in done
            ]
        )
    else:
        verb = "would go" if dry_run else "deleted"
        for one in done:
            terminal.tell(
                f"{one.rule.rows}{_whose(one.rule.rows, one.rule.tenant)}: "
                f"{count(one.rows, 'row')}, {_size(one.bytes)} {verb}"
            )


def _wanted(
    settings: SinkSettings,
    before: str | None,
    older_than: str | None,
    only: list[Rows] | None,
    tenant: str | None,
) -> list[Rule]:
    from console.moments import moment
    from runtime.retention import CLASSES, RetentionFault, rules, rules_before

    if before is not None and older_than is not None:
        raise Failure("--before and --older-than say the same: give one", Exit.USAGE)
    now = datetime.now(UTC)
    limit = moment("--before", before, now) or moment("--older-than", older_than, now)
    if limit is None:
        names = set(only or CLASSES)
        return [rule for rule in rules(settings.retention, now, tenant) if rule.rows in names]
    classes = tuple(name for name in CLASSES if name in (only or _BY_AGE))
    try:
        return list(rules_before(settings.retention, now, limit, classes, tenant))
    except RetentionFault as fault:
        raise Failure(str(fault), Exit.USAGE) from None


def _run(settings: SinkSettings, wanted: list[Rule], dry: bool) -> list[Deleted]:
    """Apply the rules, and say every two seconds how far it is; raises Failure."""
    from runtime.clock import monotonic
    from sinks import retention

    due = monotonic() + _PROGRESS_SECONDS

    def tell(deleted: Deleted) -> None:
        nonlocal due
        if monotonic() >= due:
            due = monotonic() + _PROGRESS_SECONDS
            terminal.say(f"{deleted.rule.rows}: {deleted.rows:,} rows", "dim")

    dsn = settings.database_url.get_secret_value()
    with _faults(dsn), retention.session(dsn, exclusive=not dry) as connection:
        return list(retention.run(connection, wanted, lambda: False, tell, dry=dry))


@contextmanager
def _faults(dsn: str) -> Iterator[None]:
    import psycopg

    from console import database
    from sinks import retention

    place = database.place(dsn)
    try:
        yield
    except retention.Busy:
        raise Failure(
            "another process applies the retention policy now", Exit.FAILED, "repeat it later"
        ) from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise Failure(
            f"the tables at {place} are missing or old", Exit.UNREACHABLE, "runstream migrate"
        ) from None
    except psycopg.OperationalError as error:
        if error.sqlstate is None:
            raise Failure(
                f"Postgres does not answer at {place} (DATABASE_URL); what was deleted stays so",
                Exit.UNREACHABLE,
                endpoints.server_remedy(),
            ) from None
        raise Failure(
            f"the database at {place} stopped it ({type(error).__name__}); what went stays away",
            Exit.FAILED,
            "repeat it: it goes on where it was",
        ) from None
    except psycopg.Error as error:
        raise Failure(
            f"the database at {place} refuses: {type(error).__name__}", Exit.FAILED
        ) from None


def _rule(rule: Rule) -> dict[str, Any]:
    given = asdict(rule)
    return {
        "class": given["rows"],
        "tenant": given["tenant"],
        "others": given["others"],
        "before": rule.before.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _whose(rows: str, tenant: str | None) -> str:
    if rows == "dead_letters":
        return ""
    return "" if tenant is None else f" of {tenant}"


def _size(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB" if size >= 1024**2 else f"{size / 1024:,.1f} KiB"
