"""The hosts to which a program sends: checked before it starts, and replaced by their address.

A program that gets an address resolves nothing, so that no record can change between check and use.
On another machine (SSH) names are resolved there, so only literal addresses and the names of
metadata services can be checked here.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.http import ranges
from drivers.http.ranges import Address
from drivers.scans.scope import SETTING, parse_scope
from toolmeta.hosts import split_port
from toolmeta.invocation import Contact, Invocation


async def checked(
    invocation: Invocation, context: RunContext, *, here: bool
) -> Invocation | Failure:
    """The invocation with every contact as an address, or why the program may not be started."""
    if not invocation.contacts:
        return invocation
    settings = context.resources.settings
    argv = list(invocation.argv)
    try:
        scope = parse_scope(settings.network_scope)
    except ValueError as error:
        return fail(invocation, "not_configured", f"{SETTING}: {error}")
    for contact in invocation.contacts:
        host, port = split_port(contact.host)
        if ranges.names_metadata(host):
            message = f"{host}: the name is that of a cloud's metadata service"
            return fail(invocation, "refused_address", message)
        found = await _addresses(invocation, host) if here else _literal(host)
        if isinstance(found, Failure):
            return found
        for address in found:
            scoped = isinstance(address, IPv4Address) and any(address in net for net in scope)
            allowed = settings.allow_private_addresses or scoped or not here
            reason = ranges.refusal(address, allow_private=allowed)
            if reason is not None:
                return fail(invocation, "refused_address", f"{host}: {reason}")
        if here:
            argv[contact.position] = _argument(contact, _fitting(found, argv), port)
    return replace(invocation, argv=tuple(argv))


async def _addresses(invocation: Invocation, host: str) -> list[Address] | Failure:
    literal = _literal(host)
    if literal:
        return literal
    # Most programs contact nothing, and an executor of those needs no HTTP library.
    from drivers.http.addresses import Unresolvable, resolve

    try:
        return await resolve(host, 0)
    except Unresolvable as error:
        return fail(invocation, "unreachable", f"{host}: {error}")


def _literal(host: str) -> list[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        return []


def _fitting(found: list[Address], argv: list[str]) -> Address:
    """The first address of the family that argv asks for, else the resolver's first."""
    version = 6 if "-6" in argv else 4 if "-4" in argv else None
    return next((address for address in found if address.version == version), found[0])


def _argument(contact: Contact, address: Address, port: int | None) -> str:
    bare = f"[{address}]" if port is not None and address.version == 6 else str(address)
    text = bare if port is None else f"{bare}:{port}"
    return f"{contact.before}{text}{contact.after}"
