"""The `command` driver: starts a program, here or over SSH on the host that the step names."""

from __future__ import annotations

from drivers import code_paths, contacts, local
from drivers.context import Failure, Outcome, RunContext
from drivers.errors import fail
from drivers.step_connection import connection_of_step
from toolmeta.invocation import Invocation


class CommandDriver:
    """Argv lists only: nothing passes through a shell here, and remotely each word is quoted."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Run the program to its end, with its output published while it runs."""
        context.not_acting()
        words = (*invocation.argv, *invocation.env, *invocation.env.values())
        if not invocation.argv:
            return fail(invocation, "invalid_parameters", "there is no program to start")
        if any("\x00" in word for word in words):
            return fail(invocation, "invalid_parameters", "an argument holds a NUL character")
        allowed = context.resources.settings.startable_programs
        if invocation.starts is not None and invocation.starts not in allowed:
            message = (
                f"{invocation.tool} may not start {invocation.starts} from this executor: its "
                "operator has not listed it in RUNSTREAM_STARTABLE_PROGRAMS"
            )
            return fail(invocation, "capability_missing", message)
        where = await connection_of_step(invocation, context)
        if isinstance(where, Failure):
            return where
        if where.kind == "local" and (fault := login_fault(context)) is not None:
            return fail(invocation, "capability_missing", fault)
        refused = await code_paths.refusal(invocation, context, here=where.kind == "local")
        if refused is not None:
            return refused
        reached = await contacts.checked(invocation, context, here=where.kind == "local")
        if isinstance(reached, Failure):
            return reached
        if where.kind == "local":
            try:
                ended = await local.run(reached.invocation, context, reached.way_out)
                return reached.explained(ended)
            finally:
                reached.end()
        if where.kind != "ssh":
            message = (
                f"{where.name} is a Windows host that is reached by PowerShell, and this tool "
                "starts a program over SSH: use a PowerShell tool"
            )
            return fail(invocation, "invalid_parameters", message)
        # An executor that never leaves its machine needs no SSH library.
        from drivers import ssh

        return await ssh.run(reached.invocation, context, where)


def login_fault(context: RunContext) -> str | None:
    """Why a step cannot say by which login it runs on this machine, or None where it does not."""
    command = context.command
    named = [name for name in ("become", "connection") if getattr(command, name) is not None]
    if not named:
        return None
    return (
        f"{' and '.join(named)} of the step: only for hosts that are reached over SSH. On the "
        "executor's own machine RUNSTREAM_STEP_USER and RUNSTREAM_ROOT_TOOLS decide as whom a "
        "program runs; host with a port (localhost:22) reaches it over SSH"
    )
