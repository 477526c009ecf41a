"""Contacts: where in a program's arguments and environment its peers stand. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from toolmeta.invocation import Contact, Contacts
from toolmeta.model import Tool
from toolmeta.template import fill, render

#: No argument and no variable may hold a NUL, so that it marks the place of the host alone.
_MARK: Final = "\x00"
_NONE: Final = Contacts()


def contacts_of(tool: Tool, values: dict[str, Any]) -> Contacts:
    """The peers that `values` name; what is absent names none."""
    stated = tool.run.contacts
    proxied = tuple(text for name in stated.proxied if type(text := values.get(name)) is str)
    hosts = tuple(_hosts(tool, values)) if stated.hosts else ()
    if not hosts and not proxied:
        return _NONE
    port = values.get("port")
    return Contacts(
        hosts,
        port=port if type(port) is int else None,
        name_kept=values.get(stated.name_kept_if or "") is True,
        name_option=stated.name_option,
        compared_by=stated.compared_by,
        address_variable=stated.address_variable,
        proxied=proxied,
        probe=stated.probe,
        probed_ports=stated.probed_ports,
    )


def split_peer(value: str) -> tuple[str, str, str] | None:
    """What stands before the host (with its port), the host, and what follows.

    `db-01:5432` is a host alone, `tcp://engine:2375` one in an address. A path, and an address
    without a host such as `unix:///run/docker.sock`, is of this machine: None.
    """
    scheme, slashes, rest = value.partition("://")
    if not slashes:
        return None if not value or value.startswith(("/", "@")) else ("", value, "")
    authority = rest.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    host = authority.rpartition("@")[2]
    if not host:
        return None
    at = len(authority) - len(host)
    return f"{scheme}://{rest[:at]}", host, rest[len(authority) :]


def _hosts(tool: Tool, values: dict[str, Any]) -> Iterator[Contact]:
    for name in tool.run.contacts.hosts:
        value = values.get(name)
        parts = split_peer(value) if type(value) is str else None
        if parts is None:
            continue
        lead, host, tail = parts
        marked = {**values, name: _MARK}
        places: list[tuple[int | str, str]] = list(enumerate(render(tool.run.argv, marked)))
        for variable, template in tool.run.env.items():
            places.append((variable, fill(template, marked) or ""))
        for place, text in places:
            before, found, after = text.partition(_MARK)
            if found:
                yield Contact(place, before + lead, host, tail + after)
