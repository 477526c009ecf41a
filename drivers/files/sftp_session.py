"""An SFTP session on a host: over the connection of the step, as the login or as another user.

The login gets the subsystem of the SSH server, which a forced command may serve too
(`internal-sftp`). Another user is become as for programs: sudo starts `sftp-server` by the proof of
`ssh_start`, and the protocol is spoken over what that writes and reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import asyncssh
from asyncssh.sftp import start_sftp_client

from drivers import remote, ssh_connection
from drivers.become import sudo_of
from drivers.cleanup import run_uncancelled
from drivers.connections import Connection
from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.launcher import READ_BYTES
from drivers.ssh_connection import Way
from drivers.ssh_start import Start, Sudo
from drivers.transfer_files import Unusable
from toolmeta.invocation import Invocation

#: Where the systems have it: Debian, Fedora, SUSE and Arch, BSD and macOS.
SERVERS: Final = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
)
_FIND: Final = 'for rs_f; do [ ! -x "$rs_f" ] || exec "$rs_f"; done; exit 127'
#: For the server to begin.
_START_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0
#: File names of any bytes come back as they are.
_ENCODING: Final = ("utf-8", "surrogateescape")
_VERSION: Final = 3


@asynccontextmanager
async def session(
    invocation: Invocation, context: RunContext, where: Connection, *, own: bool
) -> AsyncIterator[asyncssh.SFTPClient]:
    """The session; raises Unusable where there is none. With `own` by the login of the step."""
    become = await sudo_of(invocation, context, where) if own else None
    if isinstance(become, Failure):
        raise Unusable(become)
    way = await ssh_connection.connect(invocation, context, where, own=own)
    if isinstance(way, Failure):
        raise Unusable(way)
    try:
        yield await _opened(invocation, context, where, way, become)
    finally:
        await run_uncancelled(ssh_connection.close(way), _CLOSE_SECONDS)


async def _opened(
    invocation: Invocation, context: RunContext, where: Connection, way: Way, become: Sudo | None
) -> asyncssh.SFTPClient:
    try:
        async with asyncio.timeout(None if become else _START_SECONDS):
            if become is None:
                encoding, errors = _ENCODING
                return await way.host.start_sftp_client(
                    path_encoding=encoding, path_errors=errors, sftp_version=_VERSION
                )
            return await _by_sudo(invocation, context, where, way, become)
    except (asyncssh.Error, OSError) as error:
        if isinstance(error, TimeoutError):
            what = f"did not begin within {_START_SECONDS:g} s"
        else:
            what = getattr(error, "reason", None) or type(error).__name__
        message = (
            f"{where.name} took the login, but serves no files over SFTP ({what}): sshd_config "
            "needs a Subsystem sftp and no ForceCommand but internal-sftp, and a login shell that "
            "starts an sftp-server prints nothing before it"
        )
        raise Unusable(fail(invocation, "login_refused", message)) from None


async def _by_sudo(
    invocation: Invocation, context: RunContext, where: Connection, way: Way, become: Sudo
) -> asyncssh.SFTPClient:
    process: asyncssh.SSHClientProcess[bytes] = await way.host.create_process(
        remote.LINE, encoding=None, window=8 * READ_BYTES
    )
    server = replace(invocation, argv=("sh", "-c", _FIND, "sftp-server", *SERVERS), env={})
    start = Start(process, where.name, server, become, "sftp-server")
    try:
        failure = await start.begin({}, context)
    finally:
        start.streams.close()
    if failure is not None:
        raise Unusable(failure)
    # A server alone changes nothing.
    context.not_acting()
    encoding, errors = _ENCODING
    try:
        async with asyncio.timeout(_START_SECONDS):
            loop = asyncio.get_running_loop()
            return await start_sftp_client(
                way.host, loop, "replace", process.stdout, process.stdin, encoding, errors, _VERSION
            )
    except (asyncssh.Error, OSError):
        message = (
            f"{where.name} has no sftp-server that {become.user} could start, in none of "
            f"{', '.join(SERVERS)}: install openssh-sftp-server"
        )
        raise Unusable(fail(invocation, "program_missing", message)) from None
