"""Programs on another machine, over SSH; on cancel they are ended there."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import Any, Final

import asyncssh

from drivers import remote, ssh_connection
from drivers.become import sudo_of
from drivers.cleanup import run_uncancelled
from drivers.connections import Connection
from drivers.context import Failure, Outcome, RunContext
from drivers.errors import fail
from drivers.launcher import READ_BYTES
from drivers.local import mark_of
from drivers.processes import MARK
from drivers.program_output import ProgramOutput, conclude
from drivers.spans import executable, traced
from drivers.ssh_connection import Way
from drivers.ssh_start import Start, Sudo
from drivers.stopping import run_until_stopped
from toolmeta.invocation import Invocation

#: Beyond the grace: for a new connection, and for the search.
_CONFIRM_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Remote:
    """A program on the host, or one that is about to be started there."""

    way: Way
    process: asyncssh.SSHClientProcess[bytes] | None = None
    start: Start | None = None
    abandoned: bool = False

    def abandon(self) -> bool:
        """Let go of what the host was not told to start yet; whether that is so."""
        if self.start is not None and self.start.told:
            return False
        # A server answers the end of a session only once what it runs there has ended.
        self.abandoned = True
        self.way.abort()
        return True

    def exit_code(self) -> int | None:
        """Negative for a signal; None where the host did not report it."""
        process = self.process
        if process is None:
            return None
        if process.exit_signal is not None:
            number = getattr(signal, f"SIG{process.exit_signal[0]}", None)
            return -int(number) if number is not None else -1
        return process.exit_status


async def run(invocation: Invocation, context: RunContext, where: Connection) -> Outcome:
    """Run the program at `where`; on cancel end it there and list it in the evidence.

    A program that had ended by itself before the cancel has the outcome that it has without one.
    """
    about = {"server.address": where.name, "process.executable.name": executable(invocation.argv)}
    return await traced(_run(invocation, context, where), "ssh", about)


async def _run(invocation: Invocation, context: RunContext, where: Connection) -> Outcome:
    if context.stop.requested:
        raise asyncio.CancelledError
    mark = mark_of(context)
    become = await sudo_of(invocation, context, where)
    if isinstance(become, Failure):
        return become
    way = await ssh_connection.connect(invocation, context, where)
    if isinstance(way, Failure):
        return way
    program = _Remote(way)

    async def work() -> Outcome:
        outcome = await _run_to_end(way, become, invocation, context, where.name, program)
        if program.abandoned:
            raise asyncio.CancelledError
        return outcome

    async def stop() -> dict[str, Any]:
        if program.abandon():
            return {}
        return await _Stopping(invocation, context, where, become, mark).stop(way)

    try:
        return await run_until_stopped(
            work(),
            stop,
            program.exit_code,
            context,
            success_codes=invocation.success_codes,
            confirm_seconds=2 * _CONFIRM_SECONDS,
        )
    finally:
        await run_uncancelled(ssh_connection.close(way), _CONFIRM_SECONDS)


async def _run_to_end(
    way: Way,
    become: Sudo | None,
    invocation: Invocation,
    context: RunContext,
    host: str,
    program: _Remote,
) -> Outcome:
    output = ProgramOutput(context, merged=invocation.parse_stderr)
    try:
        process: asyncssh.SSHClientProcess[bytes] = await way.host.create_process(
            remote.LINE, encoding=None, window=8 * READ_BYTES
        )
    except (asyncssh.Error, OSError):
        if way.host.is_closed():
            return fail(invocation, "unreachable", f"the connection to {host} broke")
        message = f"{host} refuses to start a program over this connection"
        return fail(invocation, "login_refused", message)
    program.process = process
    if context.stop.requested:
        raise asyncio.CancelledError
    program.start = start = Start(process, host, invocation, become)
    try:
        async with asyncio.TaskGroup() as tasks:
            environment = {MARK: mark_of(context), **_environment(invocation)}
            failure = await start.begin(environment, context)
            if failure is not None:
                return failure
            tasks.create_task(_write_stdin(process, invocation.stdin))
            tasks.create_task(output.drain("stdout", start.streams.stdout))
            tasks.create_task(output.drain("stderr", start.streams))
        await process.wait_closed()
    except BaseExceptionGroup as group:
        if group.split((asyncssh.Error, OSError))[1] is not None:
            raise
        lost = "connection_lost" if start.told else "unreachable"
        return fail(invocation, lost, f"the connection to {host} broke")
    finally:
        start.streams.close()
    exit_code = program.exit_code()
    if exit_code is None:
        return fail(invocation, "connection_lost", f"the connection to {host} broke")
    return await conclude(invocation, output, exit_code)


def _environment(invocation: Invocation) -> dict[str, str]:
    """That of the tool. A login's LANGUAGE decides on messages beside LC_ALL, unless it is `C`."""
    spoken = {"LANGUAGE": ""} if "LC_ALL" in invocation.env else {}
    return {**spoken, **invocation.env}


async def _write_stdin(process: asyncssh.SSHClientProcess[bytes], text: str | None) -> None:
    try:
        process.stdin.write((text or "").encode())
        await process.stdin.drain()
        process.stdin.write_eof()
    except (BrokenPipeError, ConnectionResetError):
        return  # It closed stdin early; its exit code tells whether that is an error.


@dataclass(frozen=True, slots=True)
class _Stopping:
    """How what an attempt runs on the host is ended: as the user as whom it runs."""

    invocation: Invocation
    context: RunContext
    where: Connection
    become: Sudo | None
    mark: str

    async def stop(self, way: Way) -> dict[str, Any]:
        """End it over this connection, or over a new one where this one is broken."""
        limit = self.context.stop.grace_seconds + _CONFIRM_SECONDS
        try:
            async with asyncio.timeout(limit):
                return await self._stop(way)
        except TimeoutError:
            return {"cancel_unconfirmed": f"{self.where.name} did not answer within {limit:g} s"}

    async def _stop(self, way: Way) -> dict[str, Any]:
        try:
            return await self._run_stopper(way)
        except (asyncssh.Error, OSError):
            again = await ssh_connection.connect(self.invocation, self.context, self.where)
        if isinstance(again, Failure):
            return {"cancel_unconfirmed": again.message}
        try:
            return await self._run_stopper(again)
        except (asyncssh.Error, OSError):
            return {"cancel_unconfirmed": f"the connection to {self.where.name} broke"}
        finally:
            await ssh_connection.close(again)

    async def _run_stopper(self, way: Way) -> dict[str, Any]:
        """What the host answers, of bounded size: it may be hostile."""
        host = self.where.name
        process: asyncssh.SSHClientProcess[bytes] = await way.host.create_process(
            remote.LINE, encoding=None, window=READ_BYTES
        )
        start = Start(process, host, self.invocation, self.become, "what ends the processes")
        answer = bytearray()
        try:
            script = remote.stopper(self.mark, self.context.stop.grace_seconds)
            if (failure := await start.reach(script)) is not None:
                doubt = f"{host} did not say what is left: {failure.message}"
                return {"host": host, "cancel_unconfirmed": doubt}
            while piece := await start.streams.stdout.read(READ_BYTES):
                answer += piece
                if len(answer) > remote.MOST_ANSWERED:
                    return _evidence(host, remote.Stopped(supported=True))
        finally:
            start.streams.close()
            process.close()
        return _evidence(host, remote.parse_stopped(answer.decode("utf-8", "replace")))


def _evidence(host: str, stopped: remote.Stopped) -> dict[str, Any]:
    evidence: dict[str, Any] = {"host": host, "pids_ended": list(stopped.ended)}
    if not stopped.supported:
        evidence["cancel_unconfirmed"] = f"{host} has no /proc to look into"
    elif not stopped.complete:
        evidence["cancel_unconfirmed"] = f"{host} did not say what is left"
    elif stopped.left:
        left = ", ".join(str(pid) for pid in stopped.left)
        evidence["pids_ended"] = [pid for pid in stopped.ended if pid not in stopped.left]
        evidence["cancel_unconfirmed"] = f"still running on {host}: {left}"
    return evidence
