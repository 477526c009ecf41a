"""Starting a program over SSH: first the host proves that it runs what it is given.

A forced command, or a login shell that runs no commands, takes the place of what is to be started
and can succeed. What a login writes before (a banner, `.bashrc`) is no output of the program.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncssh

from drivers import remote
from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.ssh_streams import Streams, TooMuchBefore
from toolmeta.invocation import Invocation

#: How sudo begins to say why it refuses; more of it can follow.
_OF_SUDO: Final = re.compile(r"^sudo: |^Sorry, user |not in the sudoers file")
#: For the login shell to read its files and begin, and for sudo to check a password.
_READY_SECONDS: Final = 60.0

Process = asyncssh.SSHClientProcess[bytes]


@dataclass(frozen=True, slots=True)
class Sudo:
    """As whom the program runs on the host."""

    user: str
    password: str | None = field(default=None, repr=False)


class Start:
    """A script that the host is about to run, and the program that it starts."""

    def __init__(
        self,
        process: Process,
        host: str,
        invocation: Invocation,
        become: Sudo | None,
        program: str | None = None,
    ) -> None:
        """Sends nothing yet; `program` is how messages call what is to be started."""
        self._program = program or invocation.argv[0]
        self._token = remote.Token.new()
        self._process = process
        self._host = host
        self._invocation = invocation
        self._become = become
        self.streams = Streams(process.stdout, process.stderr, self._token)
        #: The host was told what to start.
        self.told = False

    async def begin(self, env: dict[str, str], context: RunContext) -> Failure | None:
        """Return once the program is started; a Failure where it is not.

        Raises CancelledError where the attempt was stopped before the host was told what to start,
        and ConnectionError where the connection broke after that.
        """
        failure = await self.reach(remote.STARTER)
        if context.stop.requested:
            raise asyncio.CancelledError
        if failure is not None:
            return failure
        context.acting()
        self.told = True
        user = "the login" if self._become is None else self._become.user
        return await self._tell(self._invocation.argv, env, user)

    async def reach(self, script: remote.Script) -> Failure | None:
        """Return once the host runs the script, as the user that it is to run as."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                first = script if self._become is None else remote.STARTER
                self._write(first.line(self._token))
                if await self.streams.word() is None:
                    return await self._ended()
        except TooMuchBefore:
            return self._replaced()
        except TimeoutError:
            message = (
                f"{self._host} took the login, but within {_READY_SECONDS:g} s nothing there began "
                f"to start {self._program}: a forced command or the login shell waits"
            )
            return self._fail("unreachable", message)
        return None if self._become is None else await self._become_user(self._become, script)

    async def _become_user(self, become: Sudo, script: remote.Script) -> Failure | None:
        token = remote.Token.new()
        asks = become.password is not None
        argv = remote.sudo(become.user, script.argv(token), token, asks=asks)
        try:
            failure = await self._tell(argv, {}, "the login")
        except ConnectionError:
            return self._broken()
        if failure is not None:
            return failure
        self.streams.expect(token)
        sent = False
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while (word := await self.streams.word()) != "ready":
                    if word != "password" or become.password is None:
                        await self._process.wait_closed()
                        return self._not_allowed(become)
                    if sent:
                        # It would ask for it three times.
                        return self._fail("login_refused", f"{self._sudo} refuses the password")
                    sent = True
                    self._write(f"{become.password}\n".encode())
        except (TimeoutError, TooMuchBefore):
            message = f"{self._sudo} did not come to an end within {_READY_SECONDS:g} s"
            return self._fail("login_refused", _quoting(message, self.streams.said[-1:]))
        return None

    async def _tell(self, argv: tuple[str, ...], env: dict[str, str], user: str) -> Failure | None:
        """Tell the starter what to start; raises ConnectionError where it does not answer."""
        self._write(remote.to_start(argv, env))
        program, host = argv[0], self._host
        try:
            word = await self.streams.word()
        except TooMuchBefore:
            raise ConnectionError from None
        if word == "missing":
            return self._fail(
                "program_missing", f"the program {program} is not installed on {host}"
            )
        if word == "denied":
            message = f"{program} on {host} is not executable for {user}"
            return self._fail("capability_missing", message)
        if word is not None:
            return None
        await self._process.wait_closed()
        code = self._process.exit_status
        if code is None:
            raise ConnectionError
        message = f"the shell of {host} ended with exit code {code} before it started {program}"
        return self._fail("exit_status", message)

    async def _ended(self) -> Failure:
        await self._process.wait_closed()
        if self._process.exit_status is None and self._process.exit_signal is None:
            return self._broken()
        return self._replaced()

    def _broken(self) -> Failure:
        message = f"the connection to {self._host} broke before {self._program} was started"
        return self._fail("unreachable", message)

    def _replaced(self) -> Failure:
        message = (
            f"{self._host} did not start {self._program}, but ran something else in its "
            "place, with effects that are not known: a ForceCommand of sshd_config, a command= of "
            "authorized_keys, or a login shell that runs no commands; give the executor a login "
            "without that"
        )
        return self._fail("login_refused", _quoting(message, self.streams.said[-1:]))

    def _not_allowed(self, become: Sudo) -> Failure:
        if self._process.exit_status is None and self._process.exit_signal is None:
            return self._broken()
        said = self.streams.said
        own = [line for line in said if _OF_SUDO.search(line)] or said[-1:]
        remedy = "sudoers must let the login run /bin/sh"
        if become.password is None:
            remedy += " without a password (NOPASSWD), or the step have become.password"
        return self._fail("login_refused", _quoting(f"{self._sudo} refuses: {remedy}", own[:1]))

    @property
    def _sudo(self) -> str:
        user = "" if self._become is None else self._become.user
        return f"sudo on {self._host}, which is to become {user},"

    def _fail(self, error_class: str, message: str) -> Failure:
        return fail(self._invocation, error_class, message)

    def _write(self, data: bytes) -> None:
        # Where it has ended already, what it wrote tells more.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)


def _quoting(message: str, lines: list[str]) -> str:
    return f"{message}; the host wrote: {lines[0]}" if lines else message
