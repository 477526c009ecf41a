"""The inventory as files that `runstream assets import` reads; logins are in none of them; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from console.ansible_groups import ALL
from console.inventory_csv import COLUMNS, TAG, write
from console.inventory_model import FACTS, GROUP_TAG

Row = Mapping[str, Any]


def as_csv(rows: list[Row] | list[dict[str, Any]], out: Callable[[str], None]) -> None:
    """A table with a column for each tag that an asset has."""
    tags = sorted({name for row in rows for name in row["tags"] if not name.startswith(GROUP_TAG)})
    header = [*COLUMNS, *(TAG + name for name in tags)]

    def cells(row: Row) -> list[str]:
        connection = _connection(row)
        given = {**row, **{name: connection.get(name) for name in ("address", "port", "user")}}
        given |= {"jump": " ".join(_jump(connection)), "groups": " ".join(groups_of(row))}
        shown = ["" if given[name] is None else str(given[name]) for name in COLUMNS]
        return [*shown, *(row["tags"].get(name, "") for name in tags)]

    write(map(cells, rows), header, lambda line: out(f"{line}\n"))


def as_ansible(rows: list[Row] | list[dict[str, Any]]) -> str:
    """A YAML inventory; its groups are the tags that an import has made of groups."""
    import yaml

    hosts = {row["hostname"]: _variables(row) for row in rows}
    groups: dict[str, dict[str, None]] = {}
    for row in rows:
        for group in groups_of(row):
            groups.setdefault(group, {})[row["hostname"]] = None
    whole: dict[str, Any] = {"hosts": hosts}
    if groups:
        whole["children"] = {name: {"hosts": groups[name]} for name in sorted(groups)}
    text: str = yaml.safe_dump({ALL: whole}, sort_keys=False, allow_unicode=True, width=100)
    return text


def groups_of(row: Row) -> list[str]:
    """The groups that the tags of an asset name."""
    names = (name.removeprefix(GROUP_TAG) for name in row["tags"] if name.startswith(GROUP_TAG))
    return sorted(names)


def _variables(row: Row) -> dict[str, Any]:
    connection = _connection(row)
    jump = _jump(connection)
    given = {
        "ansible_host": connection.get("address") or row["ip_address"],
        "ip_address": row["ip_address"] if connection.get("address") else None,
        "ansible_port": connection.get("port"),
        "ansible_user": connection.get("user"),
        "ansible_ssh_common_args": f"-o ProxyJump={','.join(jump)}" if jump else None,
        **{name: row[name] for name in FACTS},
        "tags": {k: v for k, v in row["tags"].items() if not k.startswith(GROUP_TAG)} or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _connection(row: Row) -> Mapping[str, Any]:
    metadata = row["metadata"]
    found = metadata.get("connection") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _jump(connection: Mapping[str, Any]) -> list[str]:
    value = connection.get("jump") or []
    return [value] if isinstance(value, str) else list(value)
