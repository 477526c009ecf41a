"""The `sql` driver: one statement on Postgres, values bound, read-only unless `write` is true.

Arguments: `sql`; `values` (list for %s, object for %(name)s); `write` (false); `max_rows` (100, at
most 1000); and, for another database than RUNSTREAM_SQL_DATABASE_URL, `host`, `port`, `database`,
`user`, `password`, `sslmode`. The server stops the statement a second after the step's timeout.

Only statements that begin with a known keyword run, one at a time (the extended protocol takes no
second one). COPY is refused: it reads and writes files and programs of the server.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import psycopg
from psycopg import capabilities
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from drivers.cleanup import run_uncancelled
from drivers.connections import stated_endpoint
from drivers.contacts import addresses_of
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.databases import received
from drivers.databases.failures import failed, unconnected
from drivers.errors import fail
from drivers.spans import traced
from drivers.values import KEPT_BYTES, jsonable
from streams.truncation import mark
from toolmeta.invocation import Invocation

Connection = psycopg.AsyncConnection[dict[str, Any]]

_READS: Final = frozenset({"select", "with", "values", "table", "show", "explain"})
_WRITES: Final = _READS | {
    *("insert", "update", "delete", "merge", "truncate", "refresh", "analyze", "reindex"),
    *("create", "alter", "drop", "comment", "grant", "revoke"),
}
_FIRST_WORD: Final = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*(?:(?!/\*|\*/).)*\*/)*([a-zA-Z]+)", re.S)
_ROWS: Final = 100
_MOST_ROWS: Final = 1_000
_CONNECT_SECONDS: Final = 10
#: Arguments and their names in libpq; port and sslmode have defaults, so they have no effect
#: without a host.
_ACCOUNT: Final = {"database": "dbname", "user": "user", "password": "password"}
_ELSEWHERE: Final = {
    **_ACCOUNT, "host": "host", "address": "hostaddr", "port": "port", "sslmode": "sslmode"
}  # fmt: skip
_PORT: Final = 5432


class SqlDriver:
    """A connection of its own for each attempt, so that no session state is left behind."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Run it in a transaction; on cancel a cancel request is sent, and it is rolled back."""
        arguments = invocation.arguments
        query = str(arguments.get("sql") or "")
        write = bool(arguments.get("write", False))
        first = _FIRST_WORD.match(query)
        word = first.group(1).lower() if first else ""
        if word not in (_WRITES if write else _READS):
            allowed = "statement" if write else "reading statement (write: true allows more)"
            message = f"{word.upper() or 'nothing'} is not a {allowed} that this tool runs"
            return fail(invocation, "invalid_parameters", message)
        settings = context.resources.settings
        if arguments.get("host") is None and settings.sql_database_url is None:
            message = "name a host, or set RUNSTREAM_SQL_DATABASE_URL on the executor"
            return fail(invocation, "invalid_parameters", message)
        context.not_acting()
        try:
            endpoint = _endpoint(arguments)
            if endpoint.get("host") is not None:
                host, port = str(endpoint["host"]), endpoint.get("port") or _PORT
                found = await addresses_of(invocation, context, host, port)
                if isinstance(found, Failure):
                    return found
                # libpq connects to these, and compares the certificate with the name.
                addresses = ",".join(str(address) for address in found)
                names = ",".join([host] * len(found))
                endpoint = {**endpoint, "host": names, "address": addresses}
            connection = await _connect(endpoint, context)
        except ValueError as error:
            return fail(invocation, "invalid_parameters", str(error))
        except psycopg.Error as error:
            return unconnected(invocation, error)
        too_large = False
        try:
            context.acting()
            async with received.bounded(connection.fileno()) as answers:
                try:
                    done = _transact(connection, query, invocation, context)
                    about = {
                        "db.system.name": "postgresql",
                        "db.operation.name": word.upper(),
                        "server.address": arguments.get("host"),
                    }
                    return Success(await traced(done, word.upper(), about))
                finally:
                    too_large = answers.too_large
        except psycopg.Error as error:
            return _too_large(invocation) if too_large else failed(invocation, error)
        except asyncio.CancelledError:
            if context.stop.effect != "none":
                await run_uncancelled(_confirm_cancel(connection, context), 10.0)
            raise
        finally:
            await run_uncancelled(connection.close(), 5.0)


def _too_large(invocation: Invocation) -> Failure:
    message = (
        f"the database answered more than {received.MOST_BYTES} bytes, and the connection was "
        "closed: ask for less"
    )
    return fail(invocation, "limit_exceeded", message)


def _endpoint(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with a port of `host` as the port; raises ValueError where two are named."""
    if arguments.get("host") is None:
        return arguments
    host, port = stated_endpoint(arguments)
    return {**arguments, "host": host, "port": port}


async def _connect(arguments: dict[str, Any], context: RunContext) -> Connection:
    elsewhere = arguments.get("host") is not None
    names = _ELSEWHERE if elsewhere else _ACCOUNT
    own = {key: arguments[name] for name, key in names.items() if arguments.get(name) is not None}
    preset = context.resources.settings.sql_database_url
    url = preset.get_secret_value() if preset is not None and not elsewhere else ""
    return await psycopg.AsyncConnection.connect(
        url,
        row_factory=dict_row,
        connect_timeout=_CONNECT_SECONDS,
        application_name="runstream-step",
        **own,
    )


async def _transact(
    connection: Connection, query: str, invocation: Invocation, context: RunContext
) -> dict[str, Any]:
    arguments = invocation.arguments
    write = bool(arguments.get("write", False))
    limit = min(int(arguments.get("max_rows") or _ROWS), _MOST_ROWS)
    # The agent's limit is shorter; this one holds even where the agent is killed.
    seconds = context.command.timeout_seconds + 1
    params = arguments.get("values") or None
    await connection.set_read_only(not write)
    async with connection.transaction():
        await connection.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true)",
            (f"{int(seconds * 1000)}ms",),
        )
        async with connection.cursor() as cursor:
            if write:
                # Prepared, because only then the server takes one statement and no more.
                await cursor.execute(query.encode(), params, prepare=True)
                rows, truncated = await _all_rows(cursor, limit)
            else:
                rows, truncated = await _streamed(cursor, query, params, limit)
            output = {
                "rows": rows,
                "row_count": cursor.rowcount if write and not rows else len(rows),
                "columns": [column.name for column in cursor.description or ()],
                "truncated": truncated,
            }
            if truncated and len(rows) < limit:
                # Not the step's own limit, but the size of what is kept.
                mark(output, "rows", len(rows), None)
            if write:
                # From here on a cancel may come after the COMMIT, which cannot be undone.
                context.evidence["committing"] = True
            return output


async def _streamed(
    cursor: psycopg.AsyncCursor[dict[str, Any]], query: str, params: Any, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """The first rows; the rest is never fetched."""
    kept = _Kept(limit)
    size = 100 if capabilities.has_stream_chunked() else 1
    stream = cursor.stream(query.encode(), params, size=size)
    try:
        async for row in stream:
            if not kept.add(row):
                break
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
    return kept.rows, kept.truncated


async def _all_rows(
    cursor: psycopg.AsyncCursor[dict[str, Any]], limit: int
) -> tuple[list[dict[str, Any]], bool]:
    kept = _Kept(limit)
    if cursor.description is not None:
        async for row in cursor:
            if not kept.add(row):
                break
    return kept.rows, kept.truncated


class _Kept:
    """Rows as JSON values, up to a number and a size."""

    def __init__(self, limit: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self.truncated = False
        self._limit = limit
        self._room = KEPT_BYTES

    def add(self, row: dict[str, Any]) -> bool:
        value = jsonable(row)
        self._room -= len(repr(value))
        if len(self.rows) >= self._limit or self._room < 0:
            self.truncated = True
            return False
        self.rows.append(value)
        return True


async def _confirm_cancel(connection: Connection, context: RunContext) -> None:
    """Psycopg has cancelled the statement by now; check that the server confirms it."""
    context.evidence["backend_pid"] = connection.info.backend_pid
    idle = not connection.closed and connection.info.transaction_status in (
        TransactionStatus.IDLE,
        TransactionStatus.INERROR,
    )
    if idle and not context.evidence.get("committing"):
        context.evidence["statement"] = "cancelled by the server and rolled back"
        context.stop.ended, context.stop.effect = True, "none"
    elif idle:
        context.evidence["cancel_unconfirmed"] = "the COMMIT was sent and may hold"
    else:
        context.evidence["cancel_unconfirmed"] = "the database did not confirm the cancel"
