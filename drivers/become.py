"""As whom the program of a step runs on its host: `become` of the step, with its password."""

from __future__ import annotations

from drivers.connections import Connection
from drivers.context import Failure, RunContext
from drivers.errors import fail, secret_failure
from drivers.secret_use import SecretError
from drivers.ssh_start import Sudo
from drivers.step_connection import revealed
from toolmeta.invocation import Invocation


async def sudo_of(
    invocation: Invocation, context: RunContext, where: Connection
) -> Sudo | Failure | None:
    """None where the program runs as the login; the secret is masked and recorded from now on."""
    become = context.command.become
    if become is None:
        return None
    try:
        password = await revealed(context, become.password, "become_password", where)
    except SecretError as error:
        return secret_failure(invocation, error, where.name)
    if password is not None and ("\n" in password or "\0" in password):
        message = "the password for sudo has a line break, which sudo takes for its end"
        return fail(invocation, "secret_missing", message)
    return Sudo(become.user, password)
