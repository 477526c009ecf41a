"""The `command` driver: starts a program, here or over SSH on the host that the step names."""

from __future__ import annotations

import socket
from typing import Final

from processors.executors.context import Outcome, RunContext
from processors.executors.drivers import local
from processors.executors.errors import fail
from toolmeta.invocation import Invocation

_HERE: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})


def is_here(host: str | None) -> bool:
    """Whether `host` means this machine."""
    if host is None or host.lower() in _HERE:
        return True
    own = socket.gethostname().lower()
    return host.lower() in (own, own.partition(".")[0])


class CommandDriver:
    """Argv lists only: nothing passes through a shell here, and remotely each word is quoted."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Run the program to its end, with its output published while it runs."""
        words = (*invocation.argv, *invocation.env, *invocation.env.values())
        if not invocation.argv:
            return fail(invocation, "invalid_parameters", "there is no program to start")
        if any("\x00" in word for word in words):
            return fail(invocation, "invalid_parameters", "an argument holds a NUL character")
        if is_here(invocation.host):
            return await local.run(invocation, context)
        # An executor that never leaves its machine needs no SSH library.
        from processors.executors.drivers import ssh

        return await ssh.run(invocation, context)
