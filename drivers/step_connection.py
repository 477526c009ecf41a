"""The connection of a step, by the inventory where this executor has one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from drivers.connections import Asset, Connection, Jump, asset_of, connection_of
from drivers.context import Failure, RunContext
from drivers.databases.inventory_faults import inventory_faults
from drivers.errors import fail
from drivers.http import ranges
from drivers.secret_use import SecretError
from streams.hosts import JumpHost
from toolmeta.hosts import literal_address, split_port
from toolmeta.invocation import Invocation

#: The argument that names a second host, from which a step reads.
SOURCE_HOST: Final = "from_host"
#: Drivers that reach the host of a step by the inventory.
DRIVERS: Final = frozenset({"command", "files", "script", "winrm"})


async def connection_of_step(invocation: Invocation, context: RunContext) -> Connection | Failure:
    """Where the step acts: its `host`, else its one asset, else here; nothing is connected yet.

    An asset that the step names must be in the inventory of its tenant, by its exact host name; a
    host may be. Without `DATABASE_URL` there is no inventory, and hosts are used as named.
    """
    host = invocation.host
    if host is None and len(context.command.assets or []) > 1:
        message = "the step names several assets: say with host on which of them to act"
        return fail(invocation, "invalid_parameters", message)
    named = _named(invocation, context)
    asset: Asset | None = None
    if named is not None:
        try:
            asset = await _look_up(context, named)
        except inventory_faults() as error:
            message = f"the inventory cannot be asked about {named}: {type(error).__name__}"
            return fail(invocation, "unreachable", message)
        if asset is None and host is None:
            message = f"there is no asset {named} in the inventory: name the host"
            return fail(invocation, "not_found", message)
    stated = context.command.connection
    try:
        where = connection_of(named, asset, None if stated is None else stated.port)
    except ValueError as error:
        return fail(invocation, "invalid_parameters", str(error))
    if stated is not None and stated.user is not None:
        where = replace(where, user=stated.user)
    if stated is not None and stated.jump is not None:
        where = replace(where, jumps=tuple(map(_jump_of, stated.jump)))
    return await _guarded(invocation, where)


async def connection_of_source(
    invocation: Invocation, context: RunContext, host: str
) -> Connection | Failure:
    """How a second host of the step is reached, by the inventory and the settings alone.

    `become`, `connection` and the login of the step are about its own host.
    """
    try:
        asset = await _look_up(context, host)
    except inventory_faults() as error:
        message = f"the inventory cannot be asked about {host}: {type(error).__name__}"
        return fail(invocation, "unreachable", message)
    try:
        where = connection_of(host, asset)
    except ValueError as error:
        return fail(invocation, "invalid_parameters", str(error))
    return await _guarded(invocation, where)


async def jumps_of_inventory(invocation: Invocation, context: RunContext) -> tuple[Jump, ...]:
    """The hosts that the inventory alone puts before the host of the step; nothing is connected.

    None where the step says itself what it goes through, and where its connection is not usable:
    it then fails before it is connected. Raises what the inventory raises.
    """
    stated, named = context.command.connection, _named(invocation, context)
    if invocation.driver not in DRIVERS:
        return ()
    source = invocation.arguments.get(SOURCE_HOST)
    before_source = await _jumps_before(context, source, None) if type(source) is str else ()
    if named is None or (stated is not None and stated.jump is not None):
        return before_source
    port = None if stated is None else stated.port
    return (*before_source, *await _jumps_before(context, named, port))


async def _jumps_before(context: RunContext, named: str, port: int | None) -> tuple[Jump, ...]:
    asset = await _look_up(context, named)
    try:
        where = connection_of(named, asset, port)
    except ValueError:
        return ()
    return where.jumps if where.kind == "ssh" else ()


async def connection_of_jump(
    invocation: Invocation, context: RunContext, jump: Jump
) -> Connection | Failure:
    """How a host on the way is reached: by what is stated, then by the inventory.

    What is gone through to that host itself, by the inventory, does not count here.
    """
    try:
        asset = await _look_up(context, jump.host)
    except inventory_faults() as error:
        message = f"the inventory cannot be asked about {jump.host}: {type(error).__name__}"
        return fail(invocation, "unreachable", message)
    try:
        where = connection_of(jump.host, asset, jump.port)
    except ValueError as error:
        return fail(invocation, "invalid_parameters", str(error))
    if where.kind == "powershell":
        message = f"{where.name} is a Windows host that is reached by PowerShell: no jump host"
        return fail(invocation, "invalid_parameters", message)
    login = {**where.login, **jump.login}
    user = where.user if jump.user is None else jump.user
    return await _guarded(invocation, replace(where, kind="ssh", user=user, login=login, jumps=()))


def _named(invocation: Invocation, context: RunContext) -> str | None:
    """What the step acts on, as it is written: its `host`, else the first of its assets."""
    host = invocation.host
    return host if host is not None else next(iter(context.command.assets or ()), None)


def _jump_of(stated: JumpHost) -> Jump:
    login = {"key": stated.key, "password": stated.password}
    given = {name: value for name, value in login.items() if value is not None}
    return Jump(stated.host, stated.port, stated.user, given)


async def _guarded(invocation: Invocation, where: Connection) -> Connection | Failure:
    if await _leads_to_metadata(where):
        message = f"{where.name}: the address may be that of a cloud's metadata service"
        return fail(invocation, "refused_address", message)
    return where


async def _leads_to_metadata(where: Connection) -> bool:
    """Whether the host is a metadata service: by its name, or by one of its addresses.

    The connection looks a name up once more. A record that changes in between leads to a service
    that speaks neither SSH nor WinRM, and whose answer no step gets.
    """
    if ranges.names_metadata(where.address):
        return True
    literal = literal_address(where.address)
    if literal is not None or where.kind == "local":
        return literal is not None and ranges.is_metadata(literal)
    # An executor that never leaves its machine needs no HTTP library.
    from drivers.http.addresses import Unresolvable, resolve

    try:
        found = await resolve(where.address, 0)
    except Unresolvable:
        return False  # The connection says so.
    return any(ranges.is_metadata(address) for address in found)


async def _look_up(context: RunContext, written: str) -> Asset | None:
    """The asset of a host as it is written, by its exact host name."""
    hostname = split_port(written)[0].rstrip(".").lower()
    resources, tenant = context.resources, context.command.tenant
    if not hostname or resources.settings.assets_database_url is None:
        return None
    found = resources.remembered.get(tenant, hostname)
    if found is None:
        # With an inventory only: its library takes long to load.
        from drivers.databases import inventory

        pool = await resources.database()
        async with pool.connection() as connection:
            rows = await inventory.select(connection, tenant, {"hostname": hostname}, 1, 0)
        if not rows:
            return None
        found = asset_of(rows[0])
        resources.remembered.put(tenant, found)
    return found


async def revealed(
    context: RunContext, value: Any, parameter: str, where: Connection
) -> str | None:
    """The secret of a login at `where`, masked and recorded from now on; None stays None.

    The rules for secrets are asked about the name of the host and about the address that is
    connected to. Raises SecretError.

    Plain text is refused: the inventory must not hold passwords.
    """
    if value is None:
        return None
    if isinstance(value, str):
        raise SecretError("A password or key of an asset is a secret reference, not the text.")
    secrets = context.resources.secrets
    secret, used = await secrets.login(value, context.command, parameter, where)
    await context.secrets_used([used])
    context.masker.add(secret)
    return secret
