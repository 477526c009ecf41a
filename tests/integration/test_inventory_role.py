"""The database role of executors can use the inventory and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from console.cli import main
from console.exits import Exit
from sinks.inventory_role import UnfitRole, make_inventory_role
from sinks.migrate import migrate


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A name for a role, dropped afterwards."""
    name = f"inventory_{uuid.uuid4().hex[:12]}"
    yield name
    with psycopg.connect(database) as connection:
        identifier = sql.Identifier(name)
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
            connection.execute(sql.SQL("DROP OWNED BY {}").format(identifier))
            connection.execute(sql.SQL("DROP ROLE {}").format(identifier))


def url_of(database: str, role: str, password: str) -> str:
    return psycopg.conninfo.make_conninfo(database, user=role, password=password)


def test_the_role_can_use_the_inventory_and_nothing_else(database: str, role: str) -> None:
    migrate(database)
    url = url_of(database, role, "first")
    make_inventory_role(database, url)
    make_inventory_role(database, url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO execution.assets (tenant, hostname) VALUES ('a', 'web-01')")
        connection.execute("UPDATE execution.assets SET owner = 'ops' WHERE hostname = 'web-01'")
        found = connection.execute("SELECT owner FROM execution.assets FOR UPDATE").fetchall()
        assert found == [("ops",)]
        connection.execute("DELETE FROM execution.assets")
        for statement in (
            "SELECT 1 FROM execution.executions",
            "SELECT 1 FROM execution.execution_events",
            "SELECT 1 FROM execution.schema_migrations",
            "INSERT INTO execution.executions DEFAULT VALUES",
            "TRUNCATE execution.assets",
            "DROP TABLE execution.assets",
            "ALTER TABLE execution.assets ADD COLUMN x text",
            "CREATE TABLE execution.mine (x text)",
            "CREATE ROLE another",
            "COPY (SELECT 1) TO PROGRAM 'id'",
            "SELECT pg_read_file('/etc/passwd')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_new_password_replaces_the_old_one(database: str, role: str) -> None:
    migrate(database)
    make_inventory_role(database, url_of(database, role, "first"))
    make_inventory_role(database, url_of(database, role, "second"))
    psycopg.connect(url_of(database, role, "second")).close()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url_of(database, role, "first"))


def test_a_role_that_may_do_more_is_refused(database: str, role: str) -> None:
    migrate(database)
    with pytest.raises(UnfitRole, match="may do more than use the inventory"):
        make_inventory_role(database, database)
    with psycopg.connect(database) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD 'x'").format(sql.Identifier(role))
        )
    with pytest.raises(UnfitRole):
        make_inventory_role(database, url_of(database, role, "x"))
    with psycopg.connect(database) as connection:
        connection.execute(
            sql.SQL("ALTER ROLE {} NOCREATEROLE; GRANT pg_read_all_data TO {}").format(
                *[sql.Identifier(role)] * 2
            )
        )
    with pytest.raises(UnfitRole):
        make_inventory_role(database, url_of(database, role, "x"))
    with pytest.raises(UnfitRole, match="no user or no password"):
        make_inventory_role(database, "postgresql://127.0.0.1/x")


def test_migrate_makes_the_role(
    database: str,
    role: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    url = url_of(database, role, "w7-f3ak-value")
    monkeypatch.setenv("RUNSTREAM_ASSETS_DATABASE_URL", url)
    assert main(["migrate"]) == Exit.OK
    assert main(["migrate"]) == Exit.OK
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM execution.assets").fetchone() == (0,)
    monkeypatch.setenv("RUNSTREAM_ASSETS_DATABASE_URL", database)
    assert main(["migrate"]) == Exit.USAGE
    said = capsys.readouterr()
    assert "name a role of its own" in said.err
    assert "w7-f3ak-value" not in said.err + said.out
