"""SSH connections: opened with the host key checked, an error class for each way of failing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncssh

from drivers.connections import Connection
from drivers.context import Failure, RunContext
from drivers.errors import fail, secret_failure
from drivers.secret_use import SecretError
from drivers.step_connection import connection_of_jump, revealed
from toolmeta.invocation import Invocation

_PORT: Final = 22
_KEY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Way:
    """The connections to a host: to those on the way, and last to the host itself."""

    connections: tuple[asyncssh.SSHClientConnection, ...] = ()

    @property
    def host(self) -> asyncssh.SSHClientConnection:
        """The connection to the host."""
        return self.connections[-1]

    def abort(self) -> None:
        """End all of them without a word to the hosts."""
        for connection in reversed(self.connections):
            connection.abort()


async def connect(
    invocation: Invocation, context: RunContext, where: Connection, *, own: bool = True
) -> Way | Failure:
    """Authenticated connections; nothing was run yet, so every failure is before any effect.

    With `own` false the login of the step is not for this host.
    """
    way = Way()
    try:
        for jump in where.jumps:
            hop = await connection_of_jump(invocation, context, jump)
            opened = hop if isinstance(hop, Failure) else await _open(invocation, context, hop, way)
            if isinstance(opened, Failure):
                await close(way)
                return opened
            way = Way((*way.connections, opened))
        opened = await _open(invocation, context, where, way, own=own)
    except BaseException:
        way.abort()
        raise
    if isinstance(opened, Failure):
        await close(way)
        return opened
    return Way((*way.connections, opened))


async def _open(
    invocation: Invocation, context: RunContext, where: Connection, way: Way, *, own: bool = False
) -> asyncssh.SSHClientConnection | Failure:
    """One connection, through the last one of the way; with `own` by the step's login."""
    host, name = where.name, where.address
    port = where.port or context.resources.settings.ssh_port
    options = dict(context.resources.ssh_options())
    options["tunnel"] = way.host if way.connections else ()
    try:
        known = _known_hosts(Path(options.pop("known_hosts")))
    except (OSError, ValueError) as error:
        message = f"the known_hosts file cannot be read: {error}"
        return fail(invocation, "not_configured", message)
    listed = name
    if host != name and _keys(known, host, port):
        # known_hosts has the key under the asset's name, whatever its address is now.
        listed = options["host_key_alias"] = host
    try:
        options |= await _login(context, where, own=own)
        return await asyncssh.connect(name, port, known_hosts=known, **options)
    except SecretError as error:
        return secret_failure(invocation, error, host)
    except asyncssh.HostKeyNotVerifiable:
        return _host_key(invocation, known, listed, port)
    except asyncssh.PermissionDenied:
        user = options.get("username") or "this executor's user"
        return fail(invocation, "login_refused", f"{host} refuses the login of {user}")
    except asyncssh.KeyImportError as error:
        return fail(invocation, "not_configured", f"the SSH key cannot be read: {error}")
    except asyncssh.ChannelOpenError as error:
        message = f"the jump host before {host} opens no connection to its port {port}"
        return fail(invocation, "unreachable", f"{message}: {error.reason}")
    except ConnectionRefusedError:
        return fail(invocation, "connection_refused", f"{host} has no SSH server at port {port}")
    except TimeoutError:
        return fail(invocation, "unreachable", f"{host} does not answer at port {port}")
    except FileNotFoundError:
        return fail(invocation, "not_configured", "the SSH key file does not exist")
    except (OSError, asyncssh.Error) as error:
        hung_up = isinstance(error, asyncssh.Error | ConnectionError)
        if hung_up and await _has_other_key(known, name, port, way):
            return _host_key(invocation, known, name, port)
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        return fail(invocation, "unreachable", f"{host} cannot be reached over SSH: {reason}")


async def _login(context: RunContext, where: Connection, *, own: bool) -> dict[str, Any]:
    """The login of the step, the jump or the asset; raises SecretError and KeyImportError."""
    steps = (context.command.secrets or {}) if own else {}
    names = ("ssh_key", "ssh_password") if own else ("jump_key", "jump_password")
    options: dict[str, Any] = {}
    if where.user is not None:
        options["username"] = where.user
    stated = steps.get("ssh_key") or where.login.get("key")
    key = await revealed(context, stated, names[0], where)
    if key is not None:
        options["client_keys"] = [asyncssh.import_private_key(key)]
    stated = steps.get("ssh_password") or where.login.get("password")
    password = await revealed(context, stated, names[1], where)
    if password is not None:
        options["password"] = password
        options["preferred_auth"] = ("publickey", "password")
    return options


def _known_hosts(path: Path) -> asyncssh.SSHKnownHosts:
    # An absent file knows no host; asyncssh would take "none given" for "do not check".
    return asyncssh.import_known_hosts(path.read_text() if path.exists() else "")


def _keys(known: asyncssh.SSHKnownHosts, name: str, port: int) -> Any:
    return known.match(name, "", None if port == _PORT else port)[0]


async def _has_other_key(known: asyncssh.SSHKnownHosts, name: str, port: int, way: Way) -> bool:
    """Whether the host has only keys of another kind than the known one.

    Only the known kind is requested; a server without one closes the connection without a reason.
    """
    keys = _keys(known, name, port)
    if not keys:
        return False
    try:
        async with asyncio.timeout(_KEY_SECONDS):
            tunnel = way.host if way.connections else ()
            key = await asyncssh.get_server_host_key(name, port, tunnel=tunnel, config=None)
    except (OSError, asyncssh.Error, TimeoutError):
        return False
    return key is not None and key not in keys


def _host_key(
    invocation: Invocation, known: asyncssh.SSHKnownHosts, name: str, port: int
) -> Failure:
    if _keys(known, name, port):
        message = (
            f"{name} shows another host key than known_hosts has: it was reinstalled, or somebody "
            "is in between; check, then replace the line"
        )
        return fail(invocation, "host_key_changed", message)
    message = f"{name} is not in known_hosts: check its host key, then add it"
    return fail(invocation, "host_key_unknown", message)


async def close(way: Way, seconds: float = 2.0) -> None:
    """Close the connections, the last first; waits at most `seconds` for the hosts."""
    try:
        async with asyncio.timeout(seconds):
            for connection in reversed(way.connections):
                connection.close()
                await connection.wait_closed()
    except TimeoutError:
        way.abort()
