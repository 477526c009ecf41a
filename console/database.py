"""The CLI's queries on executions in Postgres, read-only and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from console import endpoints
from console.exits import Exit, Failure

if TYPE_CHECKING:
    from psycopg import Connection

    from runtime.settings import DatabaseSettings

Row = dict[str, Any]

CONNECT_SECONDS: Final = 5
#: Rows of one list in `show`; plans have at most 1,000 steps, `for_each` may multiply them.
_MAX_ROWS: Final = 5_000

_ONE: Final = "SELECT * FROM execution.executions WHERE execution_id = %(id)s"
_APPROVAL: Final = "SELECT * FROM execution.approvals WHERE execution_id = %(id)s"
_STEPS: Final = """
SELECT * FROM execution.execution_steps WHERE execution_id = %(id)s
ORDER BY step_index NULLS LAST, length(step), step LIMIT %(rows)s
"""
_ATTEMPTS: Final = """
SELECT * FROM execution.attempts WHERE execution_id = %(id)s
ORDER BY step, attempt LIMIT %(rows)s
"""
_EVENTS: Final = """
SELECT execution_id::text, seq, event_type AS type, at, tenant, step, attempt, data
FROM execution.execution_events WHERE execution_id = %(id)s ORDER BY seq LIMIT %(rows)s
"""


@contextmanager
def reading(settings: DatabaseSettings) -> Iterator[Connection[Row]]:
    """A read-only connection; raises Failure that says what is missing and what to do."""
    import psycopg
    from psycopg.rows import dict_row

    url = settings.database_url.get_secret_value()
    try:
        with psycopg.connect(
            url,
            row_factory=dict_row,
            connect_timeout=CONNECT_SECONDS,
            options="-c default_transaction_read_only=on -c statement_timeout=15s -c jit=off",
        ) as connection:
            yield connection
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise Failure(
            f"the database at {place(url)} has no Runstream tables",
            Exit.UNREACHABLE,
            "runstream migrate",
        ) from None
    except psycopg.errors.QueryCanceled:
        raise Failure(f"the database at {place(url)} took too long", Exit.TIMED_OUT) from None
    except psycopg.OperationalError:
        # The driver's message may repeat the connection string.
        raise Failure(
            f"Postgres does not answer at {place(url)} (DATABASE_URL); executions go on without "
            "it, only this view of them is missing",
            Exit.UNREACHABLE,
            f"{endpoints.server_remedy()}; the events are on Kafka: runstream watch ID",
        ) from None


def place(url: str) -> str:
    """Host, port and database of a URL, never its user or password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 5432
    except ValueError:
        return "the given URL"
    return f"{host}:{port}{parts.path}"


def execution(connection: Connection[Row], ident: str) -> Row | None:
    """One execution with everything about it, or None."""
    given = {"id": ident, "rows": _MAX_ROWS}
    found = connection.execute(_ONE, given).fetchone()
    if found is None:
        return None
    return {
        **found,
        "execution_id": str(found["execution_id"]),
        "approval": connection.execute(_APPROVAL, given).fetchone(),
        "steps": connection.execute(_STEPS, given).fetchall(),
        "attempts": connection.execute(_ATTEMPTS, given).fetchall(),
    }


def events(connection: Connection[Row], ident: str) -> list[Row]:
    """The events of one execution, in order."""
    return connection.execute(_EVENTS, {"id": ident, "rows": _MAX_ROWS}).fetchall()
