"""Whether a step may act on the hosts that it names: no asset may be stricter than its plan.

The environment of a plan is what its requester says. The inventory says what the hosts are, by host
name, IP address or the address of the connection, in any spelling; names are resolved, so that an
alias in DNS finds its asset too. So are the hosts that a step goes through, whether the step names
them or the inventory alone (`metadata.connection.jump` of the host). A host that is not in the
inventory, and any host where the executor has no inventory, counts as one of the executor's own
environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from drivers.connections import is_here
from drivers.context import Failure, RunContext
from drivers.databases.inventory_faults import inventory_faults
from drivers.errors import fail
from drivers.scans.scope import MAX_ADDRESSES
from drivers.step_connection import jumps_of_inventory
from streams.commands import StepCommand
from streams.vocabulary import Environment, at_most
from toolmeta.hosts import split_port
from toolmeta.invocation import Invocation

#: The parameters, aliases included, whose values are hosts, networks or URLs that a tool acts on.
HOST_PARAMETERS: Final = frozenset(
    {
        *("host", "hosts", "device_ip", "server", "dns_server", "target", "targets", "range"),
        *("computer_name", "computer_names", "destination", "probe_target", "from_host"),
        *("url", "uri", "base_url", "webhook_url", "endpoint_url"),
    }
)
_URL: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#\\]*)")
#: Names, unlike addresses, cost a question to DNS each.
_MOST_NAMES: Final = 256
_RESOLVE_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 20.0


class TooManyHosts(Exception):
    """A step names more hosts than can be looked up."""


def stricter_asset(hostname: str, environment: str, planned: Environment) -> str:
    """Why a plan may not act on this asset, and what to do."""
    return (
        f"{hostname} belongs to {environment} in the inventory, and the plan's environment is "
        f"{planned}; nothing was done. Send a plan with `environment: {environment}` to the "
        f"Runstream of {environment}: there it waits for the approvals of {environment}."
    )


async def refusal(invocation: Invocation, context: RunContext) -> Failure | None:
    """Why the step may not begin, None where it may; nothing is connected to but the inventory.

    Where the inventory cannot be asked, the step fails as `unreachable`, which is transient. The
    tools of the inventory itself check the asset that they change.
    """
    command, resources = context.command, context.resources
    no_inventory = resources.settings.assets_database_url is None
    if no_inventory or command.environment == "prod" or invocation.driver == "asset":
        return None
    try:
        names = named_hosts(invocation, command)
    except TooManyHosts:
        # No scan is that large: its driver refuses it as out of scope.
        return None if invocation.driver == "scan" else _too_many(invocation)
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            for jump in await jumps_of_inventory(invocation, context):
                names |= _elsewhere(places(jump.host))
            if not names:
                return None
            found = await _stricter(context, names)
    except TooManyHosts:
        return _too_many(invocation)
    except inventory_faults(TimeoutError) as error:
        message = f"the inventory cannot be asked about the step's hosts: {type(error).__name__}"
        return fail(invocation, "unreachable", message)
    if found is None:
        return None
    text = stricter_asset(found["hostname"], found["environment"], command.environment)
    return fail(invocation, "environment", text)


def _too_many(invocation: Invocation) -> Failure:
    message = f"more than {MAX_ADDRESSES} addresses or {_MOST_NAMES} names are named: name fewer"
    return fail(invocation, "invalid_parameters", message)


async def _stricter(context: RunContext, names: set[str]) -> dict[str, Any] | None:
    tenant, allowed = context.command.tenant, at_most(context.command.environment)
    # With an inventory only: its library takes long to load.
    from drivers.databases import inventory

    resolved = await _resolved(names)
    pool = await context.resources.database()
    async with pool.connection() as connection:
        stored = await inventory.addresses(connection, tenant, sorted(names | resolved))
    # An asset of dev may be reached at the address of one of prod.
    reached = {place for value in stored for place in places(value)}
    reached |= await _resolved(reached)
    async with pool.connection() as connection:
        every = sorted(names | resolved | reached)
        return await inventory.first_outside(connection, tenant, allowed, every)


def named_hosts(invocation: Invocation, command: StepCommand) -> set[str]:
    """The hosts that a step names, in the spelling of the inventory; this machine is not one.

    Raises TooManyHosts.
    """
    found: set[str] = set()
    written = [invocation.host or "", *(command.assets or ())]
    if command.connection is not None:
        written.extend(jump.host for jump in command.connection.jump or ())
    for parameters in (command.parameters, invocation.arguments):
        written.extend(hosts_in(parameters))
    for value in written:
        for place in places(value):
            found.add(place)
            if len(found) > MAX_ADDRESSES:
                raise TooManyHosts
    return _elsewhere(found)


def _elsewhere(found: Iterable[str]) -> set[str]:
    """Without this machine."""
    return {name for name in found if name != "localhost" and not _is_loopback(name)}


def hosts_in(value: Any, *, named: bool = False) -> Iterator[str]:
    """The texts that name hosts: all below a parameter of hosts, and URLs anywhere."""
    if isinstance(value, str):
        if named or _URL.match(value):
            yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from hosts_in(item, named=named or name in HOST_PARAMETERS)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from hosts_in(item, named=named)


def places(written: str) -> Iterator[str]:
    """The names and addresses of `web-01:22`, `me@web-01`, a URL, a network, or a list of them."""
    # As host names are read by those who encode them for DNS; in a URL they may be escaped.
    text = unicodedata.normalize("NFKC", written).replace("\u3002", ".").strip()
    url = _URL.match(text)
    for word in re.split(r"[,\s]+", unquote(url.group(1)) if url else text):
        name = split_port(word.rpartition("@")[2])[0].strip("[]")
        if ":" in name:
            name = name.partition("%")[0]  # the interface of a link-local address
        name = name.rstrip(".").lower()
        if not name:
            continue
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            yield name[:253]
            continue
        if network.num_addresses > MAX_ADDRESSES:
            raise TooManyHosts
        for address in network:
            mapped = getattr(address, "ipv4_mapped", None)
            yield str(mapped or address)


async def _resolved(names: set[str]) -> set[str]:
    """The addresses and canonical names of those that are names; none where DNS has none."""
    unknown = sorted(name for name in names if not _is_address(name) and not is_here(name))
    if len(unknown) > _MOST_NAMES:
        raise TooManyHosts
    found = await asyncio.gather(*(_resolve(name) for name in unknown))
    return {place for one in found for place in one}


async def _resolve(name: str) -> set[str]:
    """Also of `2130706433` and `0x7f.1`, which the system's resolver reads as addresses."""
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            answers = await asyncio.get_running_loop().getaddrinfo(
                name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME
            )
    except (OSError, UnicodeError):
        return set()
    texts = [text for *_, canonical, address in answers for text in (canonical, str(address[0]))]
    return {place for text in texts for place in places(text)}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback
