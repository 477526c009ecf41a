"""Migrations: the numbered SQL of `ddl/`, applied once each, in order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import psycopg

#: Advisory lock: one migration at a time per database; the number is arbitrary.
_LOCK: Final = 0x72756E73_74726D31

_LEDGER: Final = """
CREATE SCHEMA IF NOT EXISTS execution;
CREATE TABLE IF NOT EXISTS execution.schema_migrations (
    version    text        NOT NULL PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class ChangedMigration(Exception):
    """A migration that was applied to this database has another content now."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `ddl/`; the version is its name without the suffix."""

    version: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex; line endings do not count."""
        return hashlib.sha256(self.sql.replace("\r\n", "\n").encode()).hexdigest()


def shipped() -> list[Migration]:
    """The migrations of this installation, in order; the same from a checkout and a wheel."""
    found = [
        Migration(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in files("ddl").iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


def migrate(dsn: str, migrations: list[Migration] | None = None) -> list[str]:
    """Bring the database up to date; returns the versions that this call applied.

    All or nothing, in one transaction under an advisory lock: a second call, also at the same
    time, applies nothing. Raises ChangedMigration where an applied file was edited, and
    psycopg.Error where the database is away or refuses.
    """
    wanted = shipped() if migrations is None else migrations
    applied: list[str] = []
    with psycopg.connect(dsn, connect_timeout=5) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(_LEDGER)
        rows = connection.execute("SELECT version, checksum FROM execution.schema_migrations")
        known: dict[str, str] = dict(rows.fetchall())
        for migration in wanted:
            before = known.get(migration.version)
            if before is None:
                # The SQL is a file of this package; nothing in it comes from a user.
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO execution.schema_migrations (version, checksum) VALUES (%s, %s)",
                    [migration.version, migration.checksum],
                )
                applied.append(migration.version)
            elif before != migration.checksum:
                raise ChangedMigration(
                    f"{migration.version}.sql was applied to this database and has changed since; "
                    "undo the edit and put the change in a new file"
                )
    return applied
