"""Programs on this machine: own user, session, folder and limits, ended as a whole tree."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from drivers import private_folder, processes
from drivers.attempt_supervisor import Request
from drivers.cleanup import run_uncancelled
from drivers.confinement import Limits
from drivers.context import Failure, Outcome, RunContext
from drivers.enclosed import WayOut
from drivers.ending import KILL_SECONDS, end_tree
from drivers.errors import fail
from drivers.launcher import CLOSE_SECONDS, Program
from drivers.processes import Traces
from drivers.program_output import OutputLimit, ProgramOutput, conclude
from drivers.spans import executable, traced
from drivers.step_users import NoUserLeft, StepUser
from drivers.stopping import run_until_stopped
from streams.ids import attempt_id
from toolmeta.invocation import Invocation

#: Where programs are looked for beyond PATH.
FOLDERS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How long the streams may stay open after the program has ended (a background child holds them).
_LINGER_SECONDS: Final = 1.0
#: What another attempt may not meet: processes, memory, open files, space.
_NO_ROOM: Final = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
)
#: What is said of a limit, by its name in RUNSTREAM_STEP_LIMITS.
_LIMITS: Final = {
    "processes": "had as many processes and threads as it may have",
    "memory_bytes": "used more memory than it may use",
    "file_bytes": "wrote a file larger than it may write",
    "scratch_files": "made more files in its working folder than it may make",
    "scratch_bytes": "wrote more into its working folder than it may write",
    "output_bytes": "wrote more output than it may write",
}


async def run(
    invocation: Invocation, context: RunContext, way_out: WayOut | None = None
) -> Outcome:
    """Run the program; on cancel end its whole tree and list it in the evidence.

    With `way_out` it has no other network than that, where a namespace can be made.
    A program that had ended by itself before the cancel has the outcome that it has without one.
    """
    if context.stop.requested:
        # A driver of several programs starts no other one after a cancel.
        raise asyncio.CancelledError
    try:
        with context.resources.step_users.taken(invocation.tool) as user:
            about = {"process.executable.name": executable(invocation.argv)}
            return await traced(_run_as(user, invocation, context, way_out), "program", about)
    except NoUserLeft as error:
        return fail(invocation, "busy", f"{invocation.argv[0]} was not started: {error}")


async def _run_as(
    user: StepUser, invocation: Invocation, context: RunContext, way_out: WayOut | None
) -> Outcome:
    request = _request(user, invocation, context, way_out)
    if isinstance(request, Failure):
        return request
    starting: asyncio.Future[Program | None] = asyncio.get_running_loop().create_future()

    async def work() -> Outcome:
        try:
            started = await _start(request, user, invocation, context)
        except BaseException:
            starting.set_result(None)
            raise
        starting.set_result(started if isinstance(started, Program) else None)
        if isinstance(started, Failure):
            return started
        return await _run_to_end(started, invocation, context, confined=user.exclusive)

    async def stop() -> dict[str, Any]:
        # A program that is being started is awaited, so that it is ended too.
        started = await asyncio.shield(starting)
        if started is None:
            return {}
        traces = _traces(started, request)
        grace = context.stop.grace_seconds
        return await end_tree(traces, grace, first_alone=invocation.stops_alone)

    def exit_code() -> int | None:
        started = starting.result() if starting.done() else None
        return started.exit_code if started else None

    try:
        return await run_until_stopped(
            work(),
            stop,
            exit_code,
            context,
            success_codes=invocation.success_codes,
            confirm_seconds=3 * KILL_SECONDS,
        )
    except ConnectionError:
        # The supervisor was killed, which removes the folder else.
        await asyncio.to_thread(private_folder.remove, request.folder)
        raise


def _request(
    user: StepUser, invocation: Invocation, context: RunContext, way_out: WayOut | None
) -> Request | Failure:
    """What the supervisor is to start."""
    name = f"runstream-{os.getpid()}-{secrets.token_hex(8)}"
    folder = str(Path(tempfile.gettempdir()) / name)
    environment = minimal_environment(invocation.env, user.home or folder)
    programs = _found(invocation.argv[0], environment["PATH"])
    if not programs:
        return fail(
            invocation,
            "program_missing",
            f"the program {invocation.argv[0]} is not installed on this executor",
        )
    limits = context.resources.settings.step_limits
    told = {"STEP_STOPS_ALONE": "1"} if invocation.stops_alone else {}
    return Request(
        programs=programs,
        arguments=invocation.argv[1:],
        env={**environment, **told, "TMPDIR": folder, processes.MARK: mark_of(context)},
        folder=folder,
        limits=Limits(
            processes=limits.processes,
            memory_bytes=limits.memory_bytes,
            open_files=limits.open_files,
            file_bytes=limits.file_bytes,
            scratch_files=limits.scratch_files,
            scratch_bytes=limits.scratch_bytes,
        ),
        user=user.user,
        new_privileges=invocation.new_privileges,
        cgroups=user.cgroups,
        way_out=way_out,
    )


def _found(name: str, path: str) -> tuple[str, ...]:
    """The files that `name` can mean, as execvp(3) tries them: its user may not start each."""
    found = (shutil.which(name, path=folder) for folder in path.split(":"))
    return tuple(dict.fromkeys(file for file in found if file is not None))


def minimal_environment(added: dict[str, str], home: str) -> dict[str, str]:
    """PATH, HOME and LANG, then what the tool adds; nothing else of the executor's own."""
    return {"PATH": program_path(), "HOME": home, "LANG": "C.UTF-8", **added}


def program_path() -> str:
    """The folders in which programs are looked for: the executor's, then the usual ones."""
    path = os.environ.get("PATH", "").split(":")
    folders = [*path, *(folder for folder in FOLDERS.split(":") if folder not in path)]
    return ":".join(folder for folder in folders if folder)


def mark_of(context: RunContext) -> str:
    """The mark of this attempt's processes; ASCII without spaces."""
    command = context.command
    ident = attempt_id(command.execution_id, command.step, command.attempt)
    return re.sub(r"[^A-Za-z0-9._:-]", "_", f"{ident}:{os.getpid()}")


def _traces(started: Program, request: Request) -> Traces:
    user = request.user
    return Traces(
        request.env[processes.MARK],
        started.pid,
        started.pipes,
        started.supervisor,
        user.uid if user is not None and user.exclusive else None,
    )


async def _start(
    request: Request, user: StepUser, invocation: Invocation, context: RunContext
) -> Program | Failure:
    context.acting()
    try:
        return await context.resources.launcher.start(request, invocation.stdin, user.lock)
    except TimeoutError:
        # It may have been started, and was ended.
        message = f"{invocation.argv[0]} was not started in time: this machine is overloaded"
        return fail(invocation, "no_answer", message)
    except OSError as error:
        context.not_acting()
        name = invocation.argv[0]
        if isinstance(error, PermissionError):
            message = f"a step of this executor may not start {name}: {error.strerror}"
            if request.user is not None:
                message += (
                    "; RUNSTREAM_STEP_USER can name an account that may, and RUNSTREAM_ROOT_TOOLS "
                    f"list {invocation.tool}"
                )
            return fail(invocation, "capability_missing", message)
        if error.errno in _NO_ROOM:
            message = f"this machine has no room for {name}: {error.strerror}"
            return fail(invocation, "busy", message)
        message = f"{name} cannot be started: {error.strerror}"
        return fail(invocation, "invalid_parameters", message)


async def _run_to_end(
    started: Program, invocation: Invocation, context: RunContext, *, confined: bool
) -> Outcome:
    output = ProgramOutput(
        context,
        merged=invocation.parse_stderr,
        most_bytes=context.resources.settings.step_limits.output_bytes,
    )
    readers = [
        asyncio.create_task(output.drain("stdout", started.stdout)),
        asyncio.create_task(output.drain("stderr", started.stderr)),
    ]
    exited = asyncio.create_task(started.exited())
    left_open = False
    try:
        pending: set[asyncio.Task[Any]] = {exited, *readers}
        while not exited.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        code = exited.result()
        left_open = await _read_to_end(output, readers)
    except OutputLimit:
        return _exceeded(invocation, "output_bytes")
    finally:
        await run_uncancelled(_cancel([exited, *readers]), KILL_SECONDS)
        # To start a daemon may be the purpose of a step; but no other program runs as its user.
        release = left_open and not confined
        await run_uncancelled(started.close(release=release), CLOSE_SECONDS + 1)
    if started.limit is not None:
        return _exceeded(invocation, started.limit)
    outcome = await conclude(invocation, output, code)
    if left_open and not confined and outcome.output is not None:
        outcome.output["left_running"] = True
    return outcome


def _exceeded(invocation: Invocation, limit: str) -> Failure:
    name = invocation.called or invocation.argv[0]
    message = (
        f"{name} {_LIMITS[limit]} ({limit} of RUNSTREAM_STEP_LIMITS), and was ended with all that "
        "it had started"
    )
    return fail(invocation, "limit_exceeded", message)


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


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    stopped = [task for task in tasks if not task.done()]
    for task in stopped:
        task.cancel()
    await asyncio.gather(*stopped, return_exceptions=True)
