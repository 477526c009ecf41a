"""The rows of `execution.assets`: named columns only, always within one tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

Connection = AsyncConnection[dict[str, Any]]

#: What a caller may write.
FIELDS: Final = (
    "hostname",
    "ip_address",
    "asset_type",
    "status",
    "environment",
    "location",
    "owner",
    "os_type",
    "os_version",
    "service_type",
    "tags",
    "metadata",
)
_COLUMNS: Final = sql.SQL(", ").join(
    sql.Identifier(name) for name in ("asset_id", *FIELDS, "version", "created_at", "updated_at")
)
_TABLE: Final = sql.Identifier("execution", "assets")
_JSON: Final = ("tags", "metadata")


def _bound(name: str, value: Any) -> Any:
    return Jsonb(value) if name in _JSON else value


def _condition(name: str, value: Any) -> tuple[sql.Composable, Any]:
    """Contained JSON, all labels of a list, a part of a host name, or equal."""
    if name == "tag_names":
        return sql.SQL("tags ?& %s"), [str(label) for label in value]
    if name in _JSON:
        return sql.SQL("{} @> %s").format(sql.Identifier(name)), Jsonb(value)
    if name == "hostname_part":
        # Not LIKE, in which _ and % would be wild cards.
        return sql.SQL("position(%s in hostname) > 0"), value
    if name not in ("asset_id", *FIELDS):
        raise KeyError(name)
    return sql.SQL("{} = %s").format(sql.Identifier(name)), value


def _where(tenant: str, filters: dict[str, Any]) -> tuple[sql.Composable, list[Any]]:
    conditions = [_condition(name, value) for name, value in filters.items()]
    parts = [sql.SQL("tenant = %s"), *(part for part, _ in conditions)]
    return sql.SQL(" AND ").join(parts), [tenant, *(value for _, value in conditions)]


async def select(
    connection: Connection, tenant: str, filters: dict[str, Any], limit: int, offset: int
) -> list[dict[str, Any]]:
    """The assets that match, ordered by host name."""
    where, values = _where(tenant, filters)
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY hostname, asset_id LIMIT %s OFFSET %s")
    cursor = await connection.execute(
        query.format(_COLUMNS, _TABLE, where), [*values, limit, offset]
    )
    return await cursor.fetchall()


async def addresses(connection: Connection, tenant: str, hostnames: list[str]) -> list[str]:
    """The addresses and names at which these assets are reached, as they are stored."""
    query = sql.SQL(
        "SELECT ip_address, metadata #>> '{{connection,address}}' AS address FROM {} "
        "WHERE tenant = %s AND hostname = ANY(%s)"
    ).format(_TABLE)
    rows = await (await connection.execute(query, (tenant, hostnames))).fetchall()
    return [value for row in rows for value in row.values() if value is not None]


async def first_outside(
    connection: Connection, tenant: str, environments: Sequence[str], names: list[str]
) -> dict[str, Any] | None:
    """`hostname` and `environment` of an asset in none of these environments that has one of the
    names as its host name, its IP address or its connection's address; None where there is none.
    """
    query = sql.SQL(
        "SELECT hostname, environment FROM {} WHERE tenant = %s AND environment <> ALL(%s) "
        "AND (hostname = ANY(%s) OR ip_address = ANY(%s) "
        "OR lower(rtrim(metadata #>> '{{connection,address}}', '.')) = ANY(%s)) "
        "ORDER BY hostname LIMIT 1"
    ).format(_TABLE)
    values = (tenant, list(environments), names, names, names)
    return await (await connection.execute(query, values)).fetchone()


async def having(
    connection: Connection, tenant: str, names: list[str], most: int
) -> list[dict[str, Any]]:
    """At most `most` assets that have one of these keys of locks as a name: host name, IP address,
    the address of their connection or their number. As asset tools return them, names only.
    """
    query = sql.SQL(
        "SELECT asset_id, hostname, ip_address, metadata #>> '{{connection,address}}' AS address "
        "FROM {} WHERE (tenant = %s AND lower(rtrim(hostname, '.')) = ANY(%s)) "
        "OR (tenant = %s AND lower(ip_address) = ANY(%s)) "
        "OR (tenant = %s AND lower(rtrim(metadata #>> '{{connection,address}}', '.')) = ANY(%s)) "
        "OR (tenant = %s AND asset_id = ANY(%s)) ORDER BY asset_id LIMIT %s"
    ).format(_TABLE)
    numbers = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 19]
    values = (tenant, names, tenant, names, tenant, names, tenant, numbers, most)
    rows = await (await connection.execute(query, values)).fetchall()
    for row in rows:
        row["metadata"] = {"connection": {"address": row.pop("address")}}
    return rows


async def count(connection: Connection, tenant: str, filters: dict[str, Any]) -> int:
    """How many match in all."""
    where, values = _where(tenant, filters)
    query = sql.SQL("SELECT count(*) AS total FROM {} WHERE {}").format(_TABLE, where)
    row = await (await connection.execute(query, values)).fetchone()
    return int(row["total"]) if row is not None else 0


async def locked(
    connection: Connection, tenant: str, filters: dict[str, Any]
) -> list[dict[str, Any]]:
    """At most two assets that match, locked until the transaction ends: one, none or several."""
    where, values = _where(tenant, filters)
    query = sql.SQL("SELECT {} FROM {} WHERE {} LIMIT 2 FOR UPDATE")
    cursor = await connection.execute(query.format(_COLUMNS, _TABLE, where), values)
    return await cursor.fetchall()


async def insert(
    connection: Connection, tenant: str, fields: dict[str, Any]
) -> dict[str, Any] | None:
    """The new asset; None where the tenant has this host name already."""
    names = [name for name in FIELDS if name in fields]
    query = sql.SQL(
        "INSERT INTO {} (tenant, {}) VALUES (%s, {}) "
        "ON CONFLICT (tenant, hostname) DO NOTHING RETURNING {}"
    ).format(
        _TABLE,
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        _COLUMNS,
    )
    values = [tenant, *(_bound(name, fields[name]) for name in names)]
    return await (await connection.execute(query, values)).fetchone()


async def update(
    connection: Connection, tenant: str, asset_id: int, fields: dict[str, Any]
) -> dict[str, Any] | None:
    """Set `fields` and count the version up; the row must be locked by this transaction."""
    names = [name for name in FIELDS if name in fields]
    query = sql.SQL(
        "UPDATE {} SET {}, version = version + 1, updated_at = now() "
        "WHERE tenant = %s AND asset_id = %s RETURNING {}"
    ).format(
        _TABLE,
        sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names),
        _COLUMNS,
    )
    values = [*(_bound(name, fields[name]) for name in names), tenant, asset_id]
    return await (await connection.execute(query, values)).fetchone()


async def delete(connection: Connection, tenant: str, asset_id: int) -> None:
    """Delete one asset."""
    query = sql.SQL("DELETE FROM {} WHERE tenant = %s AND asset_id = %s").format(_TABLE)
    await connection.execute(query, (tenant, asset_id))
