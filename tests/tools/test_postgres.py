"""pg_dump, pg_restore and pg_isready, run against a server of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.postgres import PostgresServer
from tests.tools.conftest import Execute, Result
from tests.tools.running import program

NOBODY = 1


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A server of the tests' own with two databases; the parameters that reach it."""
    program("pg_dump", "postgresql-client")
    running = PostgresServer(Path(tmp_path_factory.mktemp("postgres")) / "data")
    running.start()
    try:
        with psycopg.connect(running.dsn, autocommit=True) as connection:
            info = connection.info
            where = {
                "server": "127.0.0.1",
                "port": info.port,
                "user": info.user,
                "password": info.password,
            }
            connection.execute("create database shop")
            connection.execute("create database copy")
        with psycopg.connect(running.dsn, dbname="shop") as connection:
            connection.execute("create table orders (id int primary key, state text)")
            connection.execute("insert into orders values (1, 'open'), (2, 'done')")
        yield {**where, "dsn": running.dsn}
    finally:
        running.remove()


def test_pg_dump_and_restore(execute: Execute, postgres: dict[str, Any], tmp_path: Path) -> None:
    where = {key: value for key, value in postgres.items() if key != "dsn"}
    dump = tmp_path / "shop.dump"
    succeeded(execute("pg_dump", {**where, "database": "shop", "path": str(dump)}))
    assert dump.stat().st_size > 0
    listed = succeeded(execute("pg_restore", {"path": str(dump)}))
    assert ("TABLE DATA", "orders") in [(item["type"], item["name"]) for item in listed["entries"]]
    restore = {**where, "operation": "restore", "database": "copy", "path": str(dump)}
    succeeded(execute("pg_restore", restore))
    with psycopg.connect(postgres["dsn"], dbname="copy") as connection:
        rows = connection.execute("select id, state from orders order by id").fetchall()
    assert rows == [(1, "open"), (2, "done")]
    assert execute("pg_restore", restore).error_class == "conflict"
    succeeded(execute("pg_restore", {**restore, "clean": True}))
    plain = {**where, "database": "shop", "path": str(tmp_path / "p.sql"), "format": "plain"}
    succeeded(execute("pg_dump", {**plain, "exclude_data": ["public.ord*"]}))
    text = (tmp_path / "p.sql").read_text()
    assert ("CREATE TABLE public.orders" in text, "COPY public.orders" in text) == (True, False)
    succeeded(execute("pg_dump", {**plain, "exclude_tables": ["orders"]}))
    assert "orders" not in (tmp_path / "p.sql").read_text()
    succeeded(execute("pg_dump", {**plain, "exclude_schemas": ["public"]}))
    assert "orders" not in (tmp_path / "p.sql").read_text()


def test_postgres_clients_say_what_is_wrong(
    execute: Execute, postgres: dict[str, Any], tmp_path: Path
) -> None:
    where = {key: value for key, value in postgres.items() if key != "dsn"}
    dump = {**where, "database": "shop", "path": str(tmp_path / "d")}
    assert execute("pg_dump", {**dump, "password": "wrong-password"}).error_class == "login_refused"
    assert execute("pg_dump", {**dump, "port": NOBODY}).error_class == "connection_refused"
    far = {**dump, "server": "no-such-host.invalid"}
    assert execute("pg_dump", far).error_class == "unreachable"
    assert execute("pg_dump", {**dump, "database": "gone"}).error_class == "not_found"
    assert execute("pg_dump", {**dump, "tables": ["gone"]}).error_class == "not_found"
    assert execute("pg_restore", {"path": str(tmp_path / "x")}).error_class == "not_found"
    plain = tmp_path / "plain"
    plain.write_text("select 1;")
    assert execute("pg_restore", {"path": str(plain)}).error_class == "invalid_parameters"
    (tmp_path / "folder").mkdir()
    folder = execute("pg_restore", {"path": str(tmp_path / "folder")})
    assert folder.error_class == "invalid_parameters"


def test_pg_restore_says_what_is_wrong(
    execute: Execute, postgres: dict[str, Any], tmp_path: Path
) -> None:
    """Its own sentence decides: a server names roles and tables in its answers too."""
    where = {key: value for key, value in postgres.items() if key != "dsn"}
    dump = {**where, "database": "shop", "path": str(tmp_path / "kept")}
    with psycopg.connect(postgres["dsn"], dbname="shop", autocommit=True) as connection:
        connection.execute("create role keeper")
        connection.execute("create table kept (id int primary key)")
        connection.execute("insert into kept values (1)")
        connection.execute("alter table kept owner to keeper")
        try:
            succeeded(execute("pg_dump", {**dump, "tables": ["kept"]}))
        finally:
            connection.execute("drop table kept")
            connection.execute("drop role keeper")
    restore = {**where, "operation": "restore", "database": "shop", "path": str(tmp_path / "kept")}
    for change, error_class, words in (
        ({}, "database", 'role "keeper" does not exist'),
        ({"password": "wrong"}, "login_refused", "password authentication failed"),
        ({"user": "nobody_here"}, "login_refused", "nobody_here"),
        ({"database": "gone"}, "not_found", 'database "gone" does not exist'),
        ({"port": NOBODY}, "connection_refused", "Connection refused"),
    ):
        result = execute("pg_restore", {**restore, **change})
        assert result.error_class == error_class, result
        assert words in result.error["message"]
    succeeded(execute("pg_restore", {**restore, "no_owner": True}))
    again = execute("pg_restore", {**restore, "no_owner": True})
    assert again.error_class == "conflict", again
    rows = execute("pg_restore", {**restore, "data_only": True})
    assert rows.error_class == "database", rows
    with psycopg.connect(postgres["dsn"], dbname="shop", autocommit=True) as connection:
        assert connection.execute("select id from kept").fetchall() == [(1,)]
        connection.execute("drop table kept")


def test_pg_isready(execute: Execute, postgres: dict[str, Any]) -> None:
    where = {"server": "127.0.0.1", "port": postgres["port"]}
    output = succeeded(execute("pg_isready", where))
    assert output["message"].endswith("accepting connections")
    assert execute("pg_isready", {**where, "port": NOBODY}).status == "failed"
