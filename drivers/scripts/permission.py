"""Whether the operator of this executor allows commands and scripts of plans where a step acts.

Asked before the secrets of the step are resolved, and again right before it acts.
"""

from __future__ import annotations

from typing import Final

from drivers.connections import Connection
from drivers.context import Failure, RunContext
from drivers.errors import fail
from toolmeta import scripts
from toolmeta.invocation import Invocation

_COMMANDS: Final = "RUNSTREAM_ALLOW_COMMANDS"
_SCRIPTS: Final = "RUNSTREAM_ALLOW_SCRIPTS"


def refusal(invocation: Invocation, context: RunContext, where: Connection) -> Failure | None:
    """Why this may not run there; None where it may, and for what the operator wrote."""
    if invocation.driver != scripts.DRIVER or invocation.call == scripts.LIBRARY:
        return None
    settings = context.resources.settings
    is_command = invocation.call == scripts.COMMAND
    places = settings.allow_commands if is_command else settings.allow_scripts
    if places.here if where.kind == "local" else places.host(where.address):
        return None
    what, setting = ("a command", _COMMANDS) if is_command else ("a script", _SCRIPTS)
    place = "on its own machine" if where.kind == "local" else f"on {_named(where)}"
    entry = "local" if where.kind == "local" else where.address
    message = (
        f"this executor runs {what} of a plan {place} only where its operator allows it: with "
        f"{entry} in {setting}, or as a script of the library (RUNSTREAM_TOOLS_PATH); nothing was "
        "started"
    )
    return fail(invocation, "capability_missing", message)


def _named(where: Connection) -> str:
    return where.name if where.name == where.address else f"{where.name} ({where.address})"
