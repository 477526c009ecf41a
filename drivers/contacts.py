"""The peers of a program: checked before it starts, and replaced by their address.

A program that gets an address resolves nothing, so that no record can change between check and use.
One that takes URLs or a configuration gets a proxy that checks each of its connections. On another
machine (SSH) names are resolved there, so only literal addresses and the names of metadata services
can be checked here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from drivers.context import Failure, Outcome, RunContext
from drivers.enclosed import WayOut
from drivers.errors import fail
from drivers.http import ranges
from drivers.http.ranges import Address
from drivers.proxy import GuardProxy, Pass
from drivers.reach import Reach, ipv4_of, reach_of
from drivers.scans.scope import SETTING
from toolmeta.hosts import Ports, literal_address, split_port
from toolmeta.invocation import Contact, Invocation

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s;,\"']+")


@dataclass(frozen=True, slots=True)
class Checked:
    """A program with every peer checked; `end` it after the run."""

    invocation: Invocation
    proxy: GuardProxy | None = None
    granted: Pass | None = None
    #: The servers on loopback that it was given, with their ports.
    loopback: tuple[tuple[str, int], ...] = ()

    @property
    def way_out(self) -> WayOut | None:
        """The only network of a program that goes through the proxy, where that can be had."""
        if self.proxy is None or self.granted is None:
            return None
        return self.proxy.way_out(self.granted, self.loopback)

    def end(self) -> None:
        """Close the way through the proxy."""
        if self.proxy is not None and self.granted is not None:
            self.proxy.dismiss(self.granted)

    def explained(self, outcome: Outcome) -> Outcome:
        """The outcome; a failure after the proxy led nowhere says that, unless it is known why."""
        if self.granted is None or not isinstance(outcome, Failure):
            return outcome
        if self.granted.refused:
            found = fail(self.invocation, "refused_address", self.granted.refused[0])
        elif self.granted.unreached and outcome.error_class == "exit_status":
            found = fail(self.invocation, "unreachable", self.granted.unreached[0])
        else:
            return outcome
        return replace(found, output=outcome.output)


async def checked(invocation: Invocation, context: RunContext, *, here: bool) -> Checked | Failure:
    """The invocation with its peers checked, or why the program may not be started."""
    contacts = invocation.contacts
    if not contacts:
        return Checked(invocation)
    try:
        reach = reach_of(context.resources.settings)
    except ValueError as error:
        return fail(invocation, "not_configured", f"{SETTING}: {error}")
    argv, env = list(invocation.argv), dict(invocation.env)
    added: list[tuple[int, tuple[str, str]]] = []
    for contact in contacts.hosts:
        host, port = split_port(contact.host)
        ports = contacts.ports_of(contact)
        found = await _peer(invocation, reach, host, ports, here=here)
        if isinstance(found, Failure):
            return found
        if type(contact.place) is int:
            added += [(contact.place, option) for option in _options(invocation, host, here=here)]
        if not here or contacts.name_kept:
            continue
        address = _fitting(found, argv)
        if contacts.address_variable is not None:
            env[contacts.address_variable] = str(address)
            continue
        text = _replaced(contact, address, port)
        if isinstance(contact.place, str):
            env[contact.place] = text
            continue
        argv[contact.place] = text
    for place, option in reversed(added):
        argv[place + 1 : place + 1] = option
    urls: list[str] = []
    for text in contacts.proxied:
        chosen = await _chosen(invocation, reach, text, here=here)
        if isinstance(chosen, Failure):
            return chosen
        urls += chosen
    if not contacts.proxied or not here:
        return Checked(replace(invocation, argv=tuple(argv), env=env))
    proxy = await context.resources.proxy()
    granted = proxy.admit(reach)
    context.masker.add(granted.password)
    env |= proxy.variables(granted)
    loopback = tuple(dict.fromkeys(_on_loopback(urls)))
    return Checked(replace(invocation, argv=tuple(argv), env=env), proxy, granted, loopback)


def refused_elsewhere(invocation: Invocation, named: Iterable[str]) -> Failure | None:
    """Why another machine may not be told to contact these hosts and URLs; names are its own."""
    for text in named:
        try:
            host = urlsplit(text).hostname if "://" in text else split_port(text)[0]
        except ValueError:
            return fail(invocation, "invalid_parameters", "a URL is not well formed")
        address = literal_address(host or "")
        if ranges.names_metadata(host or "") or (address and ranges.is_metadata(address)):
            message = f"{host}: the address may be that of a cloud's metadata service"
            return fail(invocation, "refused_address", message)
    return None


async def addresses_of(
    invocation: Invocation, context: RunContext, host: str, port: int | None
) -> list[Address] | Failure:
    """The addresses of a host that a driver connects to by itself, each of them checked."""
    try:
        reach = reach_of(context.resources.settings)
    except ValueError as error:
        return fail(invocation, "not_configured", f"{SETTING}: {error}")
    return await _peer(invocation, reach, host, _only(port), here=True)


async def _peer(
    invocation: Invocation, reach: Reach, host: str, ports: Ports, *, here: bool
) -> list[Address] | Failure:
    if ranges.names_metadata(host):
        message = f"{host}: the name is that of a cloud's metadata service"
        return fail(invocation, "refused_address", message)
    found = await _addresses(invocation, host) if here else _literal(host)
    if isinstance(found, Failure):
        return found
    if here and invocation.contacts.probe and reach.scope:
        return _in_scope(invocation, reach, host, found, ports)
    # What is private is known where the program runs; metadata services are the same everywhere.
    own = reach if here else Reach(allow_private=True)
    for address in found:
        reason = own.refusal(address, ports)
        if reason is not None:
            return fail(invocation, "refused_address", f"{host}: {reason}")
    return found


def _in_scope(
    invocation: Invocation, reach: Reach, host: str, found: list[Address], ports: Ports
) -> list[Address] | Failure:
    """The addresses that a probe may ask: those of versions in the scope, each inside it."""
    if any(ranges.is_metadata(address) for address in found):
        message = f"{host}: the address may be that of a cloud's metadata service"
        return fail(invocation, "refused_address", message)
    version = _version(invocation.argv)
    usable = [
        address
        for address in found
        if (reach.names_ipv6 or ipv4_of(address) is not None) and version in (None, address.version)
    ]
    if not usable:
        only = "IPv4 only, and none of these" if not reach.names_ipv6 else "both, and none of these"
        message = f"{host}: {SETTING} has networks of {only} is asked"
        return fail(invocation, "out_of_scope", message)
    for address in usable:
        reason = reach.beyond(address, ports)
        if reason is not None:
            return fail(invocation, "out_of_scope", f"{host}: {reason}")
    return usable


def _only(port: int | None) -> Ports:
    return () if port is None else ((port, port),)


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


def _options(invocation: Invocation, host: str, *, here: bool) -> Iterator[tuple[str, str]]:
    """What tells the program the host whose address it gets, as far as argv does not say it."""
    contacts, argv = invocation.contacts, invocation.argv
    # Neither a certificate nor SNI has the dot at the end of an absolute name (RFC 6066).
    name, literal = host.rstrip("."), bool(_literal(host))
    option = contacts.name_option
    if here and option is not None and option not in argv and not literal:
        yield option, name
    if contacts.compared_by is not None and not set(contacts.compared_by) & set(argv):
        yield contacts.compared_by[literal], name


def _literal(host: str) -> list[Address]:
    found = literal_address(host)
    return [] if found is None else [found]


def _version(argv: Sequence[str]) -> int | None:
    """The version of IP that argv asks for."""
    return 6 if "-6" in argv else 4 if "-4" in argv else None


def _fitting(found: list[Address], argv: list[str]) -> Address:
    """The first address of the family that argv asks for, else the resolver's first."""
    version = _version(argv)
    return next((address for address in found if address.version == version), found[0])


def _replaced(contact: Contact, address: Address, port: int | None) -> str:
    joined = port is not None or contact.after.startswith(":") or contact.before.endswith("://")
    bare = f"[{address}]" if joined and address.version == 6 else str(address)
    text = bare if port is None else f"{bare}:{port}"
    return f"{contact.before}{text}{contact.after}"


async def _chosen(
    invocation: Invocation, reach: Reach, text: str, *, here: bool
) -> list[str] | Failure:
    """The URLs in a URL, a connection string or a credentials file, or why they may not be used."""
    urls = _URL.findall(text)
    if here and text == invocation.env.get("KUBECONFIG"):
        # Most executors never meet such a file.
        from drivers.kubeconfig import Unusable, servers

        try:
            urls = await asyncio.to_thread(servers, text)
        except Unusable as error:
            return fail(invocation, "invalid_parameters", f"kubeconfig {text}: {error}")
    for url in urls:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return fail(invocation, "invalid_parameters", "a URL is not well formed")
        if host:
            found = await _peer(invocation, reach, host, _only(port), here=here)
            if isinstance(found, Failure):
                return found
    return urls


def _on_loopback(urls: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The servers of these URLs, well formed, that are on IPv4 loopback."""
    for url in urls:
        parts = urlsplit(url)
        host = parts.hostname or ""
        address = literal_address(host)
        if host == "localhost" or (address and address.version == 4 and address.is_loopback):
            yield host, parts.port or (80 if parts.scheme.lower() == "http" else 443)
