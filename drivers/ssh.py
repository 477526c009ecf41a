"""Programs on another machine, over SSH; on cancel they are ended there."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import Any, Final

import asyncssh

from drivers import remote, ssh_connection
from drivers.cleanup import run_uncancelled
from drivers.connections import Connection
from drivers.context import Failure, Outcome, RunContext
from drivers.errors import fail
from drivers.launcher import READ_BYTES
from drivers.local import mark_of
from drivers.program_output import MISSING, ProgramOutput, conclude
from drivers.stopping import run_until_stopped
from toolmeta.invocation import Invocation

#: Beyond the grace: for a new connection, and for the search.
_CONFIRM_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Remote:
    """A program on the host, or one that is about to be started there."""

    process: asyncssh.SSHClientProcess[bytes] | None = None

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
    if context.stop.requested:
        raise asyncio.CancelledError
    mark = mark_of(context)
    try:
        header = remote.environment_header(mark, invocation.env)
    except ValueError as error:
        return fail(invocation, "invalid_parameters", str(error))
    connection = await ssh_connection.connect(invocation, context, where)
    if isinstance(connection, Failure):
        return connection
    program = _Remote()
    try:
        return await run_until_stopped(
            _run_to_end(connection, header, invocation, context, where.name, program),
            lambda: _stop(connection, invocation, context, where, mark),
            program.exit_code,
            context,
            success_codes=invocation.success_codes,
            confirm_seconds=2 * _CONFIRM_SECONDS,
        )
    finally:
        await run_uncancelled(ssh_connection.close(connection), _CONFIRM_SECONDS)


async def _run_to_end(
    connection: asyncssh.SSHClientConnection,
    header: bytes,
    invocation: Invocation,
    context: RunContext,
    host: str,
    program: _Remote,
) -> Outcome:
    output = ProgramOutput(context, merged=invocation.parse_stderr)
    try:
        process: asyncssh.SSHClientProcess[bytes] = await connection.create_process(
            remote.start_line(invocation.argv), encoding=None, window=8 * READ_BYTES
        )
    except (asyncssh.Error, OSError):
        message = f"{host} refuses to start a program over this connection"
        return fail(invocation, "login_refused", message)
    if context.stop.requested:
        # The host starts nothing before it has read the header.
        raise asyncio.CancelledError
    program.process = process
    context.acting()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_write_stdin(process, header, invocation.stdin))
            tasks.create_task(output.drain("stdout", process.stdout))
            tasks.create_task(output.drain("stderr", process.stderr))
        await process.wait_closed()
    except BaseExceptionGroup as group:
        if group.split((asyncssh.Error, OSError))[1] is not None:
            raise
        return fail(invocation, "connection_lost", f"the connection to {host} broke")
    exit_code = program.exit_code()
    if exit_code is None:
        return fail(invocation, "connection_lost", f"the connection to {host} broke")
    if exit_code == MISSING and output.last_error == remote.NO_PROGRAM:
        message = f"the program {invocation.argv[0]} is not installed on {host}"
        return fail(invocation, "program_missing", message)
    return await conclude(invocation, output, exit_code)


async def _write_stdin(
    process: asyncssh.SSHClientProcess[bytes], header: bytes, text: str | None
) -> None:
    try:
        process.stdin.write(header + (text or "").encode())
        await process.stdin.drain()
        process.stdin.write_eof()
    except (BrokenPipeError, ConnectionResetError):
        return  # It closed stdin early; its exit code tells whether that is an error.


async def _stop(
    connection: asyncssh.SSHClientConnection,
    invocation: Invocation,
    context: RunContext,
    where: Connection,
    mark: str,
) -> dict[str, Any]:
    """End it over this connection, or over a new one where this one is broken."""
    limit = context.stop.grace_seconds + _CONFIRM_SECONDS
    try:
        async with asyncio.timeout(limit):
            return await _stop_at(connection, invocation, context, where, mark)
    except TimeoutError:
        return {"cancel_unconfirmed": f"{where.name} did not answer within {limit:g} s"}


async def _stop_at(
    connection: asyncssh.SSHClientConnection,
    invocation: Invocation,
    context: RunContext,
    where: Connection,
    mark: str,
) -> dict[str, Any]:
    line = remote.stop_line(mark, context.stop.grace_seconds)
    host = where.name
    try:
        return _evidence(host, await _run_stopper(connection, line))
    except (asyncssh.Error, OSError):
        again = await ssh_connection.connect(invocation, context, where)
    if isinstance(again, Failure):
        return {"cancel_unconfirmed": again.message}
    try:
        return _evidence(host, await _run_stopper(again, line))
    except (asyncssh.Error, OSError):
        return {"cancel_unconfirmed": f"the connection to {host} broke"}
    finally:
        await ssh_connection.close(again)


async def _run_stopper(connection: asyncssh.SSHClientConnection, line: str) -> remote.Stopped:
    """What the host answers, of bounded size: it may be hostile."""
    process: asyncssh.SSHClientProcess[bytes] = await connection.create_process(
        line, stdin=asyncssh.DEVNULL, stderr=asyncssh.DEVNULL, encoding=None, window=READ_BYTES
    )
    answer = bytearray()
    try:
        while piece := await process.stdout.read(READ_BYTES):
            answer += piece
            if len(answer) > remote.MOST_ANSWERED:
                return remote.Stopped(supported=True)
    finally:
        process.close()
    return remote.parse_stopped(answer.decode("utf-8", "replace"))


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
