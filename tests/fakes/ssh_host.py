"""A fake host of an SSH connection: what the executor's own script does there, without a shell."""

from __future__ import annotations

import re
from typing import Final

import asyncssh

_TOKEN: Final = re.compile(rb"set -- ([0-9a-f]{32}) ([0-9a-f]{32})")


async def told(process: asyncssh.SSHServerProcess[bytes]) -> str:
    """The line with what is to be started, once this host has proved that it would run it."""
    opening = await process.stdin.readline()
    found = _TOKEN.search(opening)
    assert found is not None, opening
    token = b"".join(found.groups())
    process.stderr.write(token + b" errors\n")
    process.stdout.write(token + b" ready\n")
    line = await process.stdin.readline()
    process.stdout.write(token + b" started\n")
    return line.decode()
