"""The Postgres role of executors: the inventory, and nothing else."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

#: Advisory lock: roles belong to the whole server, and two migrations may run; arbitrary.
_LOCK: Final = 0x72756E73_74726D32

_GRANTS: Final = (
    "GRANT USAGE ON SCHEMA execution TO {}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON execution.assets TO {}",
    "GRANT USAGE ON SEQUENCE execution.assets_asset_id_seq TO {}",
)


class UnfitRole(Exception):
    """The role would have more than the inventory; the message says why, and the remedy."""


def make_inventory_role(dsn: str, inventory_dsn: str) -> None:
    """Make the role that `inventory_dsn` names, or set its password, and grant it the inventory.

    Repeating it changes nothing. Raises UnfitRole, and psycopg.Error where the role of `dsn` may
    not make roles.
    """
    wanted = conninfo_to_dict(inventory_dsn)
    name, password = str(wanted.get("user") or ""), str(wanted.get("password") or "")
    if not name or not password:
        raise UnfitRole("RUNSTREAM_ASSETS_DATABASE_URL has no user or no password")
    with psycopg.connect(dsn, connect_timeout=5) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        found = connection.execute(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication "
            "OR rolname = current_user "
            "OR EXISTS (SELECT 1 FROM pg_auth_members WHERE member = pg_roles.oid) "
            "OR EXISTS (SELECT 1 FROM pg_class WHERE relowner = pg_roles.oid "
            "AND relnamespace = 'execution'::regnamespace) "
            "FROM pg_roles WHERE rolname = %s",
            [name],
        ).fetchone()
        if found is not None and found[0]:
            raise UnfitRole(
                f"RUNSTREAM_ASSETS_DATABASE_URL: {name} may do more than use the inventory; name "
                "a role of its own"
            )
        # The server, and so its log, gets the hash only.
        hashed = connection.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        ).decode()
        verb = "CREATE" if found is None else "ALTER"
        role = sql.Identifier(name)
        connection.execute(
            sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(hashed))
        )
        for grant in _GRANTS:
            connection.execute(sql.SQL(grant).format(role))
