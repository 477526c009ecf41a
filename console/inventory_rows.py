"""The assets of a tenant as the command line reads them: read-only, bounded, named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from psycopg import Connection, sql

Row = dict[str, Any]

#: More than a list or an export has at once.
MAX_ROWS: Final = 10_000
_COLUMNS: Final = (
    "asset_id", "hostname", "ip_address", "asset_type", "status", "environment", "location",
    "owner", "os_type", "os_version", "service_type", "tags", "metadata", "version", "created_at",
    "updated_at",
)  # fmt: skip
_LOGIN: Final = ("password", "key")


@dataclass(frozen=True, slots=True)
class Filters:
    """As `asset_query` has them: all that are given must fit."""

    #: A part of the host name.
    hostname: str | None = None
    #: Columns and their values.
    equal: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    tag_names: list[str] = field(default_factory=list)


def select(
    connection: Connection[Row], tenant: str, wanted: Filters, limit: int, offset: int = 0
) -> list[Row]:
    """The assets that match, ordered by host name."""
    from psycopg import sql
    from psycopg.types.json import Jsonb

    conditions: list[sql.Composable] = [sql.SQL("tenant = %s")]
    values: list[Any] = [tenant]
    for name, value in wanted.equal.items():
        conditions.append(sql.SQL("{} = %s").format(sql.Identifier(name)))
        values.append(value)
    if wanted.hostname is not None:
        # Not LIKE, in which _ and % would be wild cards.
        conditions.append(sql.SQL("position(%s in hostname) > 0"))
        values.append(wanted.hostname.lower())
    if wanted.tags:
        conditions.append(sql.SQL("tags @> %s"))
        values.append(Jsonb(wanted.tags))
    if wanted.tag_names:
        conditions.append(sql.SQL("tags ?& %s"))
        values.append(wanted.tag_names)
    query = sql.SQL(
        "SELECT {} FROM execution.assets WHERE {} ORDER BY hostname, asset_id LIMIT %s OFFSET %s"
    ).format(_columns(), sql.SQL(" AND ").join(conditions))
    return connection.execute(query, [*values, limit, offset]).fetchall()


def named(connection: Connection[Row], tenant: str, names: Sequence[str]) -> dict[str, Row]:
    """The assets with exactly these host names."""
    from psycopg import sql

    query = sql.SQL(
        "SELECT {} FROM execution.assets WHERE tenant = %s AND hostname = ANY(%s)"
    ).format(_columns())
    rows = connection.execute(query, [tenant, list(names)]).fetchall()
    return {row["hostname"]: row for row in rows}


def _columns() -> sql.Composable:
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))


def shown(row: Row) -> Row:
    """An asset for people and programs: a login that is no reference is not shown."""
    from toolmeta.secret_references import path_of

    row = {name: value.isoformat() if isinstance(value, datetime) else value
           for name, value in row.items()}  # fmt: skip
    connection = row["metadata"].get("connection") if isinstance(row["metadata"], dict) else None
    if not isinstance(connection, dict):
        return row
    hidden = {
        name: "***"
        for name in _LOGIN
        if connection.get(name) is not None and path_of(connection[name]) is None
    }
    return {**row, "metadata": {**row["metadata"], "connection": {**connection, **hidden}}}
