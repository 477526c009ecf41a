"""Programs on this machine: own session, minimal environment, ended as a whole tree."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from drivers import processes
from drivers.cleanup import run_uncancelled
from drivers.context import Failure, Outcome, RunContext
from drivers.ending import KILL_SECONDS, end_tree
from drivers.errors import fail
from drivers.processes import Traces
from drivers.program_output import READ_BYTES, ProgramOutput, conclude
from drivers.stopping import run_until_stopped
from streams.ids import attempt_id
from toolmeta.invocation import Invocation

_FOLDERS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How long the streams may stay open after the program has ended (a background child holds them).
_LINGER_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05


async def run(invocation: Invocation, context: RunContext) -> Outcome:
    """Run the program; on cancel end its whole tree and list it in the evidence.

    A program that had ended by itself before the cancel has the outcome that it has without one.
    """
    if context.stop.requested:
        # A driver of several programs starts no other one after a cancel.
        raise asyncio.CancelledError
    environment = minimal_environment(invocation.env)
    program = shutil.which(invocation.argv[0], path=environment["PATH"])
    if program is None:
        return fail(
            invocation,
            "program_missing",
            f"the program {invocation.argv[0]} is not installed on this executor",
        )
    mark = mark_of(context)
    environment[processes.MARK] = mark
    reaper = context.resources.reaper
    reaper.watch(Traces(mark))
    starting: asyncio.Future[_Program | None] = asyncio.get_running_loop().create_future()

    async def work() -> Outcome:
        try:
            started = await _start(program, invocation, environment, mark)
        except BaseException:
            starting.set_result(None)
            raise
        if isinstance(started, Failure):
            starting.set_result(None)
            return started
        context.acting()
        reaper.watch(started.traces)
        starting.set_result(started)
        return await _run_to_end(started, invocation, context)

    async def stop() -> dict[str, Any]:
        # A program that is being started is awaited, so that it is ended too.
        started = await asyncio.shield(starting)
        return await end_tree(started.traces, context.stop.grace_seconds) if started else {}

    def exit_code() -> int | None:
        started = starting.result() if starting.done() else None
        return started.process.returncode if started else None

    try:
        return await run_until_stopped(
            work(),
            stop,
            exit_code,
            context,
            success_codes=invocation.success_codes,
            confirm_seconds=3 * KILL_SECONDS,
        )
    finally:
        reaper.release(mark)


def program_of(name: str) -> str | None:
    """The path of a program on this machine, found as `run` finds it."""
    return shutil.which(name, path=minimal_environment({})["PATH"])


def minimal_environment(added: dict[str, str]) -> dict[str, str]:
    """PATH, HOME and LANG, then what the tool adds; nothing else of the executor's own."""
    path = os.environ.get("PATH", "").split(":")
    folders = [*path, *(folder for folder in _FOLDERS.split(":") if folder not in path)]
    return {
        "PATH": ":".join(folder for folder in folders if folder),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        **added,
    }


def mark_of(context: RunContext) -> str:
    """The mark of this attempt's processes; ASCII without spaces."""
    command = context.command
    ident = attempt_id(command.execution_id, command.step, command.attempt)
    return re.sub(r"[^A-Za-z0-9._:-]", "_", f"{ident}:{os.getpid()}")


@cache
def _pdeathsig() -> tuple[str, ...]:
    """Arguments before the program that make the kernel kill it when this process ends.

    `setpriv` costs 0.8 ms a start; a `preexec_fn` costs more and is unsafe beside threads.
    """
    setpriv = shutil.which("setpriv", path=_FOLDERS)
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


@dataclass(frozen=True, slots=True)
class _Program:
    """A started program; closing the transport closes this side of its pipes."""

    process: asyncio.subprocess.Process
    transport: asyncio.SubprocessTransport
    traces: Traces


async def _spawn(
    program: str, invocation: Invocation, environment: dict[str, str], mark: str
) -> _Program:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=READ_BYTES, loop=loop),
        *_pdeathsig(),
        program,
        *invocation.argv[1:],
        stdin=subprocess.PIPE if invocation.stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    process = asyncio.subprocess.Process(transport, protocol, loop)
    traces = Traces(mark, process.pid, frozenset((_pipe(transport, 1), _pipe(transport, 2))))
    return _Program(process, transport, traces)


def _pipe(transport: asyncio.SubprocessTransport, descriptor: int) -> str:
    """The name that /proc gives to the pipe of stdout or stderr."""
    stream = transport.get_pipe_transport(descriptor)
    file = stream.get_extra_info("pipe") if stream is not None else None
    # A program that has ended already has closed it.
    return (
        f"pipe:[{os.fstat(file.fileno()).st_ino}]" if file is not None and not file.closed else "-"
    )


async def _start(
    program: str, invocation: Invocation, environment: dict[str, str], mark: str
) -> _Program | Failure:
    try:
        return await _spawn(program, invocation, environment, mark)
    except PermissionError as error:
        message = f"the executor may not start {invocation.argv[0]}: {error.strerror}"
        return fail(invocation, "capability_missing", message)
    except OSError as error:
        message = f"{invocation.argv[0]} cannot be started: {error.strerror}"
        return fail(invocation, "invalid_parameters", message)


async def _run_to_end(started: _Program, invocation: Invocation, context: RunContext) -> Outcome:
    process = started.process
    output = ProgramOutput(context, merged=invocation.parse_stderr)
    readers = [
        asyncio.create_task(_write_stdin(process, invocation.stdin)),
        asyncio.create_task(output.drain("stdout", _present(process.stdout))),
        asyncio.create_task(output.drain("stderr", _present(process.stderr))),
    ]
    exited = asyncio.create_task(_exited(process))
    try:
        pending: set[asyncio.Task[Any]] = {exited, *readers}
        while not exited.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        left_open = await _read_to_end(output, readers)
    finally:
        await run_uncancelled(_cancel([exited, *readers]), KILL_SECONDS)
        started.transport.close()
    outcome = await conclude(invocation, output, exited.result())
    if left_open and outcome.output is not None:
        # Not ended: to start a daemon may be the purpose of the step.
        outcome.output["left_running"] = True
    return outcome


def _present(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert stream is not None, "the program was started with pipes"  # noqa: S101
    return stream


async def _read_to_end(output: ProgramOutput, readers: list[asyncio.Task[None]]) -> bool:
    """After the program's end: read on until the streams end, or return True where they do not.

    A process that holds them open without writing for a second is a background process.
    """
    late: set[asyncio.Task[None]] = set(readers)
    while late:
        seen = output.reads
        done, late = await asyncio.wait(late, timeout=_LINGER_SECONDS)
        for task in done:
            task.result()
        if late and output.idle and output.reads == seen:
            await _cancel(late)
            return True
    return False


async def _write_stdin(process: asyncio.subprocess.Process, text: str | None) -> None:
    if process.stdin is None or text is None:
        return
    try:
        process.stdin.write(text.encode())
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # It closed stdin early; its exit code tells whether that is an error.
    finally:
        process.stdin.close()


async def _exited(process: asyncio.subprocess.Process) -> int:
    """The exit code as soon as there is one; `wait()` would wait for the streams as well."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        descriptor = -1
    if descriptor >= 0:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    pause = 0.0005
    while (code := process.returncode) is None:
        await asyncio.sleep(pause)
        pause = min(pause * 2, _POLL_SECONDS)
    return code


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    stopped = [task for task in tasks if not task.done()]
    for task in stopped:
        task.cancel()
    await asyncio.gather(*stopped, return_exceptions=True)
