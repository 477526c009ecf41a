"""The database of the API: few connections, for reading only, and no query without an end."""

from __future__ import annotations

import logging
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from api.problems import Problem, response, unavailable
from runtime.settings import DatabaseSettings

Database = ConnectionPool[Connection[dict[str, Any]]]

#: At once; routes wait for one of them.
CONNECTIONS: Final = 8
#: For a connection that is free, and for one to be made, in seconds.
WAIT_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 15


def pool(settings: DatabaseSettings) -> Database:
    """The connections; none is made before `open`."""
    # Whoever watches the database says once that it is away.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    return ConnectionPool(
        settings.database_url.get_secret_value(),
        kwargs={
            "row_factory": dict_row,
            "autocommit": True,
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "runstream-api",
        },
        min_size=1,
        max_size=CONNECTIONS,
        timeout=WAIT_SECONDS,
        # Callers that wait; beyond them the answer is that the database is busy.
        max_waiting=200,
        max_idle=300.0,
        # A database that was restarted must not be met as an error of the first request.
        check=ConnectionPool.check_connection,
        configure=_read_only,
        open=False,
        name="api",
    )


def _read_only(connection: Connection[dict[str, Any]]) -> None:
    connection.execute("SET default_transaction_read_only = on")
    # Compiling a query takes a hundred times as long as most of these take.
    connection.execute("SET jit = off")
    connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")


def install(app: FastAPI) -> None:
    """Answer what the database cannot do now as a problem."""

    @app.exception_handler(psycopg.errors.QueryCanceled)
    async def too_long(request: Request, error: psycopg.Error) -> JSONResponse:
        told = f"the query took more than {STATEMENT_SECONDS} s: ask for less, by filters or limit"
        return response(Problem(503, "too_slow", told), request)

    @app.exception_handler(psycopg.errors.UndefinedTable)
    @app.exception_handler(psycopg.errors.InvalidSchemaName)
    async def without_tables(request: Request, error: psycopg.Error) -> JSONResponse:
        told = "Postgres (DATABASE_URL) has no Runstream tables: runstream migrate"
        return response(Problem(503, "unavailable", told), request)

    @app.exception_handler(PoolTimeout)
    @app.exception_handler(psycopg.OperationalError)
    async def away(request: Request, error: Exception) -> JSONResponse:
        return response(unavailable("Postgres (DATABASE_URL)", "see that it runs"), request)
