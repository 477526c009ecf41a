"""`runstream migrate`: make the tables, or bring them up to date."""

from __future__ import annotations

from time import sleep
from typing import Annotated, Final

import typer

from console import endpoints, terminal
from console.exits import Exit, Failure
from console.options import Json
from reading.text import count

_PAUSE_SECONDS: Final = 0.5


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(migrate)


def migrate(
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            max=600,
            help="How long a database that is away is waited for.",
        ),
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Bring the database up to date, the role of executors included; safe to repeat."""
    from runtime.settings import MigrateSettings
    from sinks.migrate import ChangedMigration

    settings = endpoints.load(MigrateSettings)
    dsn, inventory = settings.database_url.get_secret_value(), settings.assets_database_url
    try:
        applied = _migrate_with_wait(dsn, wait)
        if inventory is not None:
            _make_inventory_role(dsn, inventory.get_secret_value())
    except ChangedMigration as error:
        raise Failure(str(error), Exit.FAILED) from None
    if as_json:
        terminal.data({"applied": applied})
    elif applied:
        terminal.say(f"{count(len(applied), 'migration')} applied: {', '.join(applied)}", "green")
    else:
        terminal.say("the database is up to date", "green")


def _make_inventory_role(dsn: str, inventory_dsn: str) -> None:
    """Make the role of executors; raises Failure where the database refuses."""
    import psycopg

    from sinks.inventory_role import UnfitRole, make_inventory_role

    try:
        make_inventory_role(dsn, inventory_dsn)
    except UnfitRole as error:
        raise Failure(str(error), Exit.USAGE) from None
    except psycopg.Error as error:
        raise _refused(dsn, error) from None


def _migrate_with_wait(dsn: str, wait: float) -> list[str]:
    """Migrate, waiting for a database that is away and saying so once."""
    import psycopg

    from console.database import place
    from runtime.clock import monotonic
    from sinks.migrate import migrate as apply

    until = monotonic() + wait
    said = False
    while True:
        try:
            return apply(dsn)
        except psycopg.OperationalError as error:
            if error.sqlstate is not None and error.sqlstate[:2] not in ("08", "57", "53"):
                raise _refused(dsn, error) from None
            if monotonic() >= until:
                raise Failure(
                    f"Postgres does not answer at {place(dsn)} (DATABASE_URL)",
                    Exit.UNREACHABLE,
                    endpoints.server_remedy(),
                ) from None
            if not said:
                terminal.say(f"waiting for Postgres at {place(dsn)}, {wait:g} s at most")
                said = True
            sleep(_PAUSE_SECONDS)
        except psycopg.Error as error:
            raise _refused(dsn, error) from None


def _refused(dsn: str, error: Exception) -> Failure:
    from console.database import place

    lines = str(error).strip().splitlines()
    why = lines[0][:300] if lines else type(error).__name__
    return Failure(f"the database at {place(dsn)} refuses: {why}", Exit.FAILED)
