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
from drivers.capture import READ_BYTES, Capture, conclude
from drivers.cleanup import see_through
from drivers.context import Outcome, RunContext
from drivers.ending import GRACE_SECONDS, KILL_SECONDS, end_tree
from drivers.errors import fail
from drivers.processes import Traces
from streams.ids import attempt_id
from toolmeta.invocation import Invocation

_FOLDERS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How long the streams may stay open after the program has ended (a background child holds them).
_LINGER_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05


async def run(invocation: Invocation, context: RunContext) -> Outcome:
    """Run the program; on cancel end its whole tree and say so in the evidence."""
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
    guard = context.resources.guard
    guard.watch(Traces(mark))
    try:
        try:
            started = await _start(program, invocation, environment, context, mark)
        except PermissionError as error:
            message = f"the executor may not start {invocation.argv[0]}: {error.strerror}"
            return fail(invocation, "capability_missing", message)
        except OSError as error:
            message = f"{invocation.argv[0]} cannot be started: {error.strerror}"
            return fail(invocation, "invalid_parameters", message)
        guard.watch(started.traces)
        return await _attend(started, invocation, context)
    finally:
        guard.release(mark)


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
def _tether() -> tuple[str, ...]:
    """Words before the program that make the kernel kill it when this process dies.

    `setpriv` costs 0.8 ms a start; a `preexec_fn` costs more and is unsafe beside threads.
    """
    setpriv = shutil.which("setpriv", path=_FOLDERS)
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


@dataclass(frozen=True, slots=True)
class _Program:
    """A started program; closing the transport closes our ends of its pipes."""

    process: asyncio.subprocess.Process
    transport: asyncio.SubprocessTransport
    traces: Traces


async def _spawn(
    program: str, invocation: Invocation, environment: dict[str, str], mark: str
) -> _Program:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=READ_BYTES, loop=loop),
        *_tether(),
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
    # A program that ended at once may have closed it already.
    return (
        f"pipe:[{os.fstat(file.fileno()).st_ino}]" if file is not None and not file.closed else "-"
    )


async def _start(
    program: str,
    invocation: Invocation,
    environment: dict[str, str],
    context: RunContext,
    mark: str,
) -> _Program:
    """Start it; a cancel that arrives meanwhile waits for the start, so that nothing gets away."""
    starting = asyncio.ensure_future(_spawn(program, invocation, environment, mark))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        started = await see_through(_join(starting), KILL_SECONDS)
        if started is not None:
            await _end(started, context, [])
            started.transport.close()
        raise


async def _join(starting: asyncio.Future[_Program]) -> _Program | None:
    try:
        return await starting
    except OSError:
        return None


async def _attend(started: _Program, invocation: Invocation, context: RunContext) -> Outcome:
    process = started.process
    capture = Capture(context, merged=invocation.parse_stderr)
    work = [
        asyncio.create_task(_feed(process, invocation.stdin)),
        asyncio.create_task(capture.drain("stdout", _present(process.stdout))),
        asyncio.create_task(capture.drain("stderr", _present(process.stderr))),
    ]
    exited = asyncio.create_task(_exited(process))
    try:
        pending: set[asyncio.Task[Any]] = {exited, *work}
        while not exited.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        left_open = await _last_words(capture, work)
    except BaseException:
        await _end(started, context, [exited, *work])
        raise
    finally:
        started.transport.close()
    outcome = await conclude(invocation, capture, exited.result())
    if left_open and outcome.output is not None:
        # Not ours to end: starting a daemon may be just what was asked for.
        outcome.output["left_running"] = True
    return outcome


def _present(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert stream is not None, "the program was started with pipes"  # noqa: S101
    return stream


async def _last_words(capture: Capture, work: list[asyncio.Task[None]]) -> bool:
    """After the program's end: read on until the streams end, or say True when they never will.

    Whoever holds them open without writing for a second is a background process.
    """
    late: set[asyncio.Task[None]] = set(work)
    while late:
        seen = capture.reads
        done, late = await asyncio.wait(late, timeout=_LINGER_SECONDS)
        for task in done:
            task.result()
        if late and capture.idle and capture.reads == seen:
            await _stop(late)
            return True
    return False


async def _feed(process: asyncio.subprocess.Process, text: str | None) -> None:
    if process.stdin is None or text is None:
        return
    try:
        process.stdin.write(text.encode())
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it did not want to read everything; its exit code tells whether that is bad
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


async def _stop(tasks: Iterable[asyncio.Task[Any]]) -> None:
    stopped = [task for task in tasks if not task.done()]
    for task in stopped:
        task.cancel()
    await asyncio.gather(*stopped, return_exceptions=True)


async def _end(started: _Program, context: RunContext, work: list[asyncio.Task[Any]]) -> None:
    """End the tree, then the readers: until then its last words are still read."""
    limit = GRACE_SECONDS + 2 * KILL_SECONDS
    try:
        evidence = await see_through(end_tree(started.traces), limit)
    except TimeoutError:
        evidence = {"cancel_unconfirmed": f"the search for its processes took over {limit:g} s"}
    context.evidence.update(evidence)
    await see_through(_stop(work), KILL_SECONDS)
